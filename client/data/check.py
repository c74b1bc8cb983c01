"""Everything that is wrong with a manifest and its recordings, and what they hold."""

import difflib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from client.data.cells import shares_of
from client.data.feasible import EPSILONS, SITES, Feasible, feasible
from client.data.guess import guessed
from client.data.manifest import Manifest, place_of, refuse, survey_manifest
from client.data.probe import Found, probe
from client.data.rated import NO_SCALES, Asked, Rated, missing_targets, rated
from client.data.table import read_table
from common.config import Study
from common.settings import load_study
from common.targets import Scale, targets_of

SUSPICIOUS = 0.15
RARE = 0.02
MOST_PROBLEMS = 1000


@dataclass(frozen=True)
class CheckReport:
    """What a manifest holds.

    Args:
        problems: each with file and line; with any of them the manifest cannot be used.
        notes: each with file and line; what should be looked at.
        persons: how many.
        clips: how many may be used.
        left_out: how many may not, by reason of consent.
        splits: clips per split.
        split_persons: persons per split.
        coverage: share of clips that have each modality.
        labels: clips per class.
        label_persons: persons who have a clip of each class.
        clips_per_person: how many clips each person has, most first; no names.
        length_s: of clips that have a length, sorted.
        rates: modality or signal -> rate in Hz -> clips.
        chance: UAR of guessing, 1 / classes.
        guessed: UAR over persons not seen, from what should say nothing: which modalities
            are there, how long the clip is, where in the session it starts; NaN where it
            cannot be said.
        feasible: for each ε, the noise that so many persons would need.
        ratings: what is known of each dimension and label that a study asks for.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    persons: int
    clips: int
    left_out: Mapping[str, int]
    splits: Mapping[str, int]
    split_persons: Mapping[str, int]
    coverage: Mapping[str, float]
    labels: Mapping[str, int]
    label_persons: Mapping[str, int]
    clips_per_person: tuple[int, ...]
    length_s: tuple[float, ...]
    rates: Mapping[str, Mapping[float, int]]
    chance: float
    guessed: Mapping[str, float]
    feasible: tuple[Feasible, ...]
    ratings: Mapping[str, Rated] = field(default_factory=dict)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What should worry whoever reads figures on this corpus."""
        return tuple(
            f"{name} alone reaches {100 * uar:.0f} UAR (chance {100 * self.chance:.0f}); "
            "a model may learn the protocol instead of the person"
            for name, uar in self.guessed.items()
            if uar > self.chance + SUSPICIOUS
        )

    def refuse(self) -> None:
        """Raise when there is a problem.

        Raises:
            DataError: with every problem.
        """
        refuse(self.problems, MOST_PROBLEMS)

    def form(self) -> dict[str, Any]:
        """Return the report for JSON; what cannot be said is null."""
        found: dict[str, Any] = _without_nan(asdict(self) | {"warnings": self.warnings})
        return found


def check_manifest(path: Path, purpose: str = "research", today: date | None = None) -> CheckReport:
    """Check a manifest and decode every recording once; nothing is planned.

    Args:
        path: the manifest.
        purpose: what the recordings are to be used for.
        today: the day on which consent must hold; None takes the clock's.

    Raises:
        DataError: with every problem of the table and of the recordings.
    """
    report = survey(path, purpose, today, epsilons=())
    report.refuse()
    return report


def survey(
    path: Path,
    purpose: str = "research",
    today: date | None = None,
    epsilons: Sequence[float] = EPSILONS,
    sites: int = SITES,
    classes: Sequence[str] = (),
    scales: Mapping[str, Scale] = NO_SCALES,
    votes: bool = False,
) -> CheckReport:
    """Like `check_manifest`, but problems are in the report.

    Args:
        path: the manifest.
        purpose: what the recordings are to be used for.
        today: the day on which consent must hold; None takes the clock's.
        epsilons: which ε per person are asked for.
        sites: how many sites of this size would train together.
        classes: the study's; any other label is a problem. Empty takes every label as it comes.
        scales: the study's dimensions and labels; a column that is missing is a problem.
        votes: whether the study reads the raters' votes.

    Raises:
        DataError: when the table itself cannot be read.
        ConfigError: an ε or the number of sites is out of range.
    """
    asked = Asked(classes, scales, is_required=False, votes=votes)
    classes = tuple(classes) or _classes(path)
    manifest, problems = survey_manifest(
        path, classes, purpose, today or date.today(), labels=False, scales=scales, votes=votes
    )
    if asked.classes or scales:
        problems += [(0, said) for said in missing_targets(read_table(path).columns, asked)]
    if not manifest.rows:
        said = "no row may be used" if manifest.left_out else "there is no row below the header"
        problems.append((0, said))
    found = probe(manifest)
    problems += found.problems
    found.notes += _odd_labels(manifest, classes)
    report = _report(manifest, classes, problems, found, (tuple(epsilons), sites))
    return replace(report, ratings=rated(manifest.rows, scales))


def survey_for(
    path: Path, study: str | None, purpose: str | None, epsilons: Sequence[float], sites: int
) -> CheckReport:
    """Survey a manifest for a study, by name or path, or for none; see `survey`.

    Raises:
        ConfigError: there is no such study, or an argument is out of range.
        DataError: when the table itself cannot be read.
    """
    found = load_study(study) if study else Study()
    votes = found.training.class_target == "raters"
    asked = found.classes, targets_of(found).scales, votes
    return survey(path, purpose or found.purpose, None, epsilons, sites, *asked)


def _report(
    manifest: Manifest,
    classes: Sequence[str],
    problems: Sequence[tuple[int, str]],
    found: Found,
    asked: tuple[tuple[float, ...], int],
) -> CheckReport:
    rows = manifest.rows
    said = [classes[int(np.argmax(r.label_C))] if any(r.label_C) else "" for r in rows]
    per_person = Counter(row.person_id for row in rows)
    training = {row.person_id for row in rows if row.split in ("", "train")}
    rates: dict[str, Counter[float]] = {}
    for name, _, rate_hz in found.rates:
        rates.setdefault(name, Counter())[rate_hz] += 1
    return CheckReport(
        problems=_told(manifest, problems),
        notes=_told(manifest, found.notes),
        persons=len(per_person),
        clips=len(rows),
        left_out=manifest.left_out,
        splits=dict(Counter(row.split for row in rows)),
        split_persons=dict(Counter(split for split, _ in {(r.split, r.person_id) for r in rows})),
        coverage={
            name: sum(name in row.sources for row in rows) / max(len(rows), 1)
            for name in manifest.modalities
        },
        labels={name: said.count(name) for name in classes},
        label_persons={
            name: len({r.person_id for r, s in zip(rows, said, strict=True) if s == name})
            for name in classes
        },
        clips_per_person=tuple(sorted(per_person.values(), reverse=True)),
        length_s=tuple(sorted(s for s in found.length_s if math.isfinite(s))),
        rates={name: dict(sorted(count.items())) for name, count in sorted(rates.items())},
        chance=1 / max(len(classes), 1),
        guessed=guessed(manifest, found.length_s) if rows else {},
        feasible=feasible(len(training), asked[1], asked[0]),
    )


def _odd_labels(manifest: Manifest, classes: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield rare labels that look like another one misspelt."""
    rows = [row for row in manifest.rows if sum(row.label_C) and max(row.label_C) == 1]
    lines: dict[str, list[int]] = {name: [] for name in classes}
    for row in rows:
        lines[classes[int(np.argmax(row.label_C))]].append(row.line)
    common = [name for name in classes if len(lines[name]) > RARE * len(rows)]
    for name in classes:
        close = difflib.get_close_matches(name, common, n=1, cutoff=0.75)
        if lines[name] and name not in common and close:
            yield lines[name][0], f"label {name!r} is rare; did you mean {close[0]!r}?"


def _told(manifest: Manifest, lines: Sequence[tuple[int, str]]) -> tuple[str, ...]:
    unique = dict.fromkeys(sorted(lines, key=lambda one: one[0]))
    return tuple(place_of(manifest, line) + text for line, text in unique)


def _classes(path: Path) -> tuple[str, ...]:
    """Every class that the labels name; what is wrong with them is reported later."""
    found: set[str] = set()
    for row in read_table(path).rows:
        found |= set(shares_of(str(row.cells.get("label_dist", ""))) or ())
        found |= {str(row.cells.get("label", ""))} - {""}
    return tuple(sorted(found))


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {f"{k:g}" if isinstance(k, float) else k: _without_nan(v) for k, v in value.items()}
    return [_without_nan(v) for v in value] if isinstance(value, list | tuple) else value
