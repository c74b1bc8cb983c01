"""CREMA-D's crowd votes: how raters heard the voice alone and saw the face alone.

The votes on voice and face together are the answer to what is asked here; they stay out.

Source: Cao et al., CREMA-D: Crowd-sourced emotional multimodal actors dataset, IEEE
Transactions on Affective Computing 5, 2014.
"""

from pathlib import Path
from typing import Any

from client.data.importers.tables import read_frame
from client.data.importers.writing import Clip, Corpus, numbers, read_sites

EMOTIONS = "ADFHNS"
VIEWS = ("voice", "face")
GROUPS = {"group_age": "actor_age", "group_sex": "actor_sex", "group_race": "actor_race"}


def read_cremad_votes(source: Path) -> Corpus:
    """Read cremad_votes.parquet and sites.json.

    Raises:
        DataError: when the table lacks a column.
    """
    columns = ["sample_id", "subject_id", "label", *(c for view in VIEWS for c in _columns(view))]
    frame = read_frame(source, "cremad_votes.parquet", columns)
    clips = [_clip(record) for record in frame.to_dict("records")]
    return Corpus(clips, read_sites(source))


def _columns(view: str) -> list[str]:
    return [*(f"{view}_vote_{emotion}" for emotion in EMOTIONS), f"{view}_n"]


def _clip(record: dict[Any, Any]) -> Clip:
    person = str(record["subject_id"])
    cells = {
        "sample_id": str(record["sample_id"]),
        "person_id": person,
        "label": str(record["label"]),
        **{f"features_{v}": numbers([record[c] for c in _columns(v)]) for v in VIEWS},
        **{group: str(record[column]) for group, column in GROUPS.items() if column in record},
    }
    return Clip(person, cells)
