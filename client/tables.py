"""What a site's commands print, as tables."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from client.data.ahead import Pass
from client.data.check import CheckReport
from client.data.importers.writing import ImportReport
from client.data.rated import Rated
from client.personalise import Personal
from client.predict import PersonRow, Predicted
from common.affect import Evaluation, Metrics, headline, main_figures
from common.affect.classes import CONFIDENCE
from common.affect.figures import figures_of


def imported(report: ImportReport) -> Table:
    """What an importer wrote."""
    table = Table(title=f"{sum(report.rows.values())} clips of {report.persons} persons")
    table.add_column("manifest", overflow="fold")
    table.add_column("clips", justify="right")
    for path, count in zip(report.manifests, report.rows.values(), strict=True):
        table.add_row(str(path), str(count))
    if report.unplaced:
        table.caption = f"{report.unplaced} clips belong to no site and were left out"
    return table


def checked(report: CheckReport) -> Table:
    """What a manifest holds, and what in it should worry."""
    table = Table(title=f"{report.clips} clips of {report.persons} persons", show_header=False)
    for name, share in report.coverage.items():
        table.add_row(name, f"{100 * share:.0f} % of clips")
    for name, count in report.labels.items():
        table.add_row(f"label {name}", f"{count} clips of {report.label_persons[name]} persons")
    for name, known in report.ratings.items():
        table.add_row(f"{'label' if known.is_label else 'dimension'} {name}", rating(known))
    for name, count in report.splits.items():
        said = f"{count} clips of {report.split_persons[name]} persons"
        table.add_row(f"split {name or '(none)'}", said)
    for name, count in report.left_out.items():
        table.add_row(f"left out: {name}", str(count))
    for name, uar in report.guessed.items():
        said = "cannot be said" if math.isnan(uar) else f"UAR {100 * uar:.0f}"
        table.add_row(f"guessing from {name}", f"{said} (chance {100 * report.chance:.0f})")
    for one in report.feasible:
        said = f"noise σ {one.noise_multiplier:.3g}, noise to signal {one.noise_to_signal:.2g}"
        table.add_row(f"ε = {one.target_epsilon:g} per person", f"{said}\n{one.said}")
    table.caption = "\n".join((*report.warnings, *_few(report.notes))) or None
    return table


def extracted(found: Pass) -> Table:
    """What a pass over a manifest's recordings came to."""
    table = Table(title=f"features of {found.manifest} in {found.cache}")
    for column in ("modality", "front end", "clips", "sources", "known", "read", "failed", "s"):
        table.add_column(column, justify="left" if column in ("modality", "front end") else "right")
    for name, one in found.modalities.items():
        counts = (one.clips, one.sources, one.from_cache, one.computed, one.failed)
        table.add_row(name, one.front_end, *map(str, counts), f"{one.seconds:.1f}")
    made = {one.encoder["encoder"]: one.encoder for one in found.modalities.values() if one.encoder}
    said = (
        f"{name}: licence {one['licence']}, sha256 {one['sha256']}" for name, one in made.items()
    )
    table.caption = "\n".join(said) or None
    return table


def encoder(record: Mapping[str, Any]) -> Table:
    """What an encoder's folder holds."""
    table = Table(title=f"{record['encoder']}: licence {record['licence']}", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, digest in {**record["files"], **record["papers"]}.items():
        table.add_row(name, digest)
    table.add_section()
    table.add_row("numbers", f"{record['parameters']:,}")
    return table


def rating(one: Rated) -> str:
    """What a manifest knows of a dimension or label, in a line."""
    known = f"{one.clips} clips of {one.persons} persons"
    if not one.clips:
        return "nothing known"
    if one.is_label:
        return f"{known}, holds in {100 * one.mean:.0f} %"
    return f"{known}, {one.mean:.3g} ± {one.spread:.2g}"


def _few(notes: tuple[str, ...], most: int = 20) -> tuple[str, ...]:
    more = (f"… and {len(notes) - most} more; --html or --json lists all",)
    return notes if len(notes) <= most else (*notes[:most], *more)


def figures(found: Evaluation) -> Table:
    """Every figure with its interval."""
    table = Table(title=f"{found.persons} persons")
    for column in ("", "value", f"{CONFIDENCE:.0%} interval by person"):
        table.add_column(column, justify="left" if not column else "right")
    for one in figures_of(found):
        table.add_row(one.name, one.text, one.interval)
    if found.classes:
        table.title = f"{found.classes.clips} clips of {found.persons} persons"
        table.add_row("chance", f"{100 * found.classes.chance:.1f} %", "")
    return table


def confusion(metrics: Metrics | None) -> Table | str:
    """Counts of label against what the model says; nothing where there are no classes."""
    if metrics is None:
        return ""
    table = Table(title="confusion: row is the label, column what the model says")
    for column in ("", *metrics.classes, "recall %"):
        table.add_column(column, justify="left" if not column else "right")
    for name, row in zip(metrics.classes, metrics.confusion_CC, strict=True):
        recall = f"{100 * metrics.recall[name].value:.1f}" if name in metrics.recall else "–"
        table.add_row(name, *(str(count) for count in row), recall)
    return table


def persons(rows: tuple[PersonRow, ...]) -> Table:
    """How well each person is read, worst first."""
    table = Table(title="by person, worst first")
    has_class, has_error = (
        any(not math.isnan(getattr(row, name)) for row in rows) for name in ("uar", "error")
    )
    more = ("right", "UAR") if has_class else ()
    for column in ("person", "clips", *more, *(("error %",) if has_error else ())):
        table.add_column(column, justify="left" if column == "person" else "right")
    for row in rows:
        cells = (str(row.right), f"{100 * row.uar:.1f}") if has_class else ()
        away = (f"{100 * row.error:.1f}",) if has_error else ()
        table.add_row(row.person_id, str(row.clips), *cells, *away)
    return table


def may_have_trained(found: Predicted) -> Iterator[str]:
    """A warning where clips are marked as training clips: what a model says of these flatters."""
    trained = int((found.data.split_N == "train").sum())
    if trained:
        yield (
            f"{trained} of {len(found.data)} clips are marked split=train: if the model learned "
            "from these persons, the figures flatter. Evaluate on persons that it never saw."
        )


def personal(found: Personal, record: Mapping[str, Any]) -> tuple[Table | str, ...]:
    """A base model beside the tuned one, what that cost, and where the tuned one is."""
    table = Table(title=f"{found.before.persons} held-out persons of {found.site}")
    for column in ("", "before", "interval", "after", "interval"):
        table.add_column(column, justify="right" if column else "left")
    after = {one.name: one for one in main_figures(found.after)}
    for one in main_figures(found.before):
        later = after[one.name]
        table.add_row(one.name, one.text, one.interval, later.text, later.interval)
    return table, *_personal_said(found, record["written"])


def _personal_said(found: Personal, written: str | None) -> Iterator[str]:
    cost = found.cost
    if cost is None:
        yield "\nNo noise was added: the model tells of the persons behind it."
    else:
        yield f"\nε spent: {cost.epsilon:.2f}; {cost.epsilon_of_site:.2f} by this site in all."
        if cost.is_seeded:
            yield "\nIts noise comes from a seed (reproducible_seed): it protects NOBODY."
    if found.is_worse:
        yield f"\nThe tuned model reads these persons WORSE by {headline(found.after).name}."
    yield f"\n{written} holds it." if written else "\nNothing was written (--keep-worse does)."
