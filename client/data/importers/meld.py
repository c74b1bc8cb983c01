"""MELD: utterances of a television series with prosody, at the clients of FedMultimodal.

A site is one speaker in one season. The development and test parts have the same
characters as the training part, so "chandler" of one part is not kept from the others by
anyone: a person here is a character within a part ("train/chandler", "validation/chandler").
That keeps the manifest's rule that a person stands in one split, and says openly that
figures on MELD are not figures on new persons.

An utterance's duration, which comes with the prosody, is left out: length is no feature.

Source: Poria et al., MELD, ACL 2019; Feng et al., FedMultimodal, KDD 2023.
"""

import zlib
from pathlib import Path
from typing import Any

import pandas as pd

from client.data.importers.tables import read_frame
from client.data.importers.writing import Clip, Corpus, numbers, read_json

CLASSES = ("neutral", "sadness", "joy", "anger")
SPLITS = {"train": "train", "dev": "validation", "validation": "validation", "test": "test"}
PROSODY = (
    "audio_avg_intensity",
    "audio_intensity_variation",
    "audio_avg_pitch",
    "audio_pitch_std",
    "audio_pitch_range",
    "audio_articulation_rate",
    "audio_mean_hnr",
)
NEEDED = ("sample_id", "split", "subject_id", "fm_client", "text", "label", *PROSODY)


def read_meld(source: Path) -> Corpus:
    """Read meld.parquet and clients.json; four classes, as FedMultimodal has them.

    Training utterances of speakers without a client are left out. Utterances of other
    parts go to their speaker's client, or, where there is none, to one drawn by a checksum.

    Raises:
        DataError: when the table lacks a column.
    """
    frame = read_frame(source, "meld.parquet", NEEDED)
    frame = frame[frame["label"].isin(CLASSES) & frame["split"].isin(SPLITS)]
    clients = sorted(map(str, read_json(source / "clients.json").get(CLIENTS, ())))
    clips = [_clip(record, clients) for record in frame.to_dict("records")]
    return Corpus(clips, {client: [client] for client in clients})


CLIENTS = "fedmultimodal_train_clients"


def _clip(record: dict[Any, Any], clients: list[str]) -> Clip:
    split = SPLITS[str(record["split"])]
    cells = {
        "sample_id": str(record["sample_id"]),
        "person_id": f"{split}/{record['subject_id']}",
        "text": "" if pd.isna(record["text"]) else str(record["text"]),
        "features_prosody": numbers([record[name] for name in PROSODY]),
        "label": str(record["label"]),
        "split": split,
    }
    return Clip(_client(str(record["fm_client"]), split, clients), cells)


def _client(speaker: str, split: str, clients: list[str]) -> str:
    if speaker in clients or split == "train" or not clients:
        return speaker
    return clients[zlib.crc32(speaker.encode()) % len(clients)]
