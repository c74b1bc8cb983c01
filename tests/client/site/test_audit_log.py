"""The audit log: any edit, deletion, reorder or truncation is found, and the line named."""

import json
import multiprocessing
from pathlib import Path

import pytest

from client.site.audit_log import AUDIT_LOG, EVENTS, AuditHead, append, check, read
from common.errors import ConfigError, LedgerError
from common.secagg.channel import Identity

NORTH = Identity("north", b"n" * 32)
AT = "2026-11-23T12:00:00Z"
EXAMPLES = {str: "abc", int: 7}


def details(event: str) -> dict[str, str | int]:
    return {name: EXAMPLES[kind] for name, kind in EVENTS[event].items()}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / AUDIT_LOG
    for event in EVENTS:
        append(path, NORTH, event, AT, **details(event))
    return path


def head(path: Path) -> AuditHead:
    return check(path, NORTH.public_key)


def test_a_log_is_read_as_it_was_written(log: Path) -> None:
    assert head(log).number == len(EVENTS)
    assert [line["event"] for line in read(log)] == list(EVENTS)


def test_no_event_has_a_field_that_every_line_has() -> None:
    common = {"number", "at", "event", "previous", "digest", "signature"}
    assert not [event for event, fields in EVENTS.items() if common & set(fields)]


def test_it_is_readable_by_its_owner_alone(log: Path) -> None:
    assert log.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", range(1, len(EVENTS) + 1))
def test_an_edited_line_is_named(log: Path, number: int) -> None:
    lines = log.read_text().splitlines()
    line = json.loads(lines[number - 1])
    lines[number - 1] = json.dumps({**line, "at": "2026-11-24T12:00:00Z"})
    log.write_text("\n".join(lines) + "\n")
    with pytest.raises(LedgerError, match=rf"line {number} was edited") as caught:
        head(log)
    assert caught.value.entry == number


def test_an_edited_line_with_a_new_hash_lacks_the_signature(log: Path, tmp_path: Path) -> None:
    forged, mallory = tmp_path / "forged", Identity("mallory", b"m" * 32)
    for event in EVENTS:
        append(forged, mallory, event, AT, **details(event))
    with pytest.raises(LedgerError, match=r"line 1 is not signed by this site"):
        head(forged)


@pytest.mark.parametrize("number", range(1, len(EVENTS)))
def test_a_deleted_line_is_named(log: Path, number: int) -> None:
    lines = log.read_text().splitlines()
    del lines[number - 1]
    log.write_text("\n".join(lines) + "\n")
    with pytest.raises(LedgerError, match=rf"line {number} does not extend") as caught:
        head(log)
    assert caught.value.entry == number


def test_reordered_lines_are_named(log: Path) -> None:
    lines = log.read_text().splitlines()
    lines[2], lines[3] = lines[3], lines[2]
    log.write_text("\n".join(lines) + "\n")
    with pytest.raises(LedgerError, match=r"line 3 does not extend"):
        head(log)


def test_truncation_is_found_against_a_kept_head(log: Path) -> None:
    kept = head(log)
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(LedgerError, match=rf"line {kept.number} was kept"):
        check(log, NORTH.public_key, kept)


def test_a_log_that_was_written_anew_is_found_against_a_kept_head(log: Path) -> None:
    kept = head(log)
    log.unlink()
    for event in reversed(EVENTS):
        append(log, NORTH, event, AT, **details(event))
    assert head(log).number == kept.number
    with pytest.raises(LedgerError, match=r"is not the one that was kept"):
        check(log, NORTH.public_key, kept)


def test_a_log_that_went_on_still_holds_a_kept_head(log: Path) -> None:
    kept = head(log)
    append(log, NORTH, "stopped", AT, process="runner")
    assert check(log, NORTH.public_key, kept).number == kept.number + 1


def test_a_line_that_a_crash_left_unfinished_spoils_no_other(log: Path) -> None:
    before = head(log)
    with log.open("ab") as file:
        file.write(b'{"at":"2026')
    append(log, NORTH, "stopped", AT, process="runner")
    assert check(log, NORTH.public_key, before).number == before.number + 1


@pytest.mark.parametrize(
    ("event", "given"),
    [
        ("refused", {"stage": "mask", "word": "busy", "reason": "anna.wav holds NaN"}),
        ("refused", {"stage": "mask"}),
        ("refused", {"stage": "mask", "word": 3}),
        ("thought", {}),
    ],
)
def test_there_is_no_field_for_anything_else(
    tmp_path: Path, event: str, given: dict[str, str | int]
) -> None:
    with pytest.raises(ConfigError, match=r"audit"):
        append(tmp_path / AUDIT_LOG, NORTH, event, AT, **given)
    assert not (tmp_path / AUDIT_LOG).exists()


def _append_many(path: Path) -> None:
    for _ in range(25):
        append(path, NORTH, "started", AT, process="runner")


def test_four_processes_write_one_chain(tmp_path: Path) -> None:
    path = tmp_path / AUDIT_LOG
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append_many, args=(path,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert head(path).number == 100


def test_an_empty_log_has_the_empty_head(tmp_path: Path) -> None:
    (tmp_path / AUDIT_LOG).touch()
    assert head(tmp_path / AUDIT_LOG).number == 0
    with pytest.raises(ConfigError, match=r"cannot be read"):
        head(tmp_path / "none.jsonl")
