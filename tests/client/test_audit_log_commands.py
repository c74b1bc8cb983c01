"""`tacit audit log`: what was edited or cut off is named, with the exit code of privacy."""

import json
import sys

import pytest

import tacit
from client.site.audit_log import append
from client.site.folder import Wishes, init_site
from common.keys import new_identity, read_identity, write_roster

AT = "2026-11-23T12:00:00+00:00"


@pytest.fixture
def site(tmp_path):
    """A site that was never trusted by anybody, with three lines in its log."""
    init_site(tmp_path / "north", Wishes("north", 40, purposes=("research",), first_port=1))
    fill(tmp_path / "north", 3)
    return tmp_path / "north"


def fill(folder, lines):
    identity = read_identity(folder / "identity.key", "north")
    for number in range(lines):
        path = folder / "audit.jsonl"
        append(path, identity, "refused", AT, stage=f"mask [{number}]", word="budget")


@pytest.fixture
def call(monkeypatch, capsys):
    """Run `tacit audit log …`: exit code, output, what was said."""

    def run(*arguments):
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["tacit", "audit", "log", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            tacit.main()
        out, said = capsys.readouterr()
        return int(ended.value.code or 0), out, " ".join(said.split())

    return run


def head_of(call, site):
    code, out, _ = call("verify", site, "--json")
    assert code == 0
    return json.loads(out)


def test_a_whole_log_is_verified_and_its_head_printed(call, site):
    found = head_of(call, site)
    assert found["lines"] == 3
    code, out, _ = call("verify", site)
    assert code == 0
    assert found["head"] in out


def test_a_log_that_was_cut_off_is_found_by_a_kept_head(call, site):
    kept = head_of(call, site)["head"]
    log = site / "audit.jsonl"
    log.write_text("".join(line + "\n" for line in log.read_text().splitlines()[:2]))
    assert call("verify", site)[0] == 0
    code, _, said = call("verify", site, "--head", kept)
    assert code == 3
    assert "it ends at line 2, and line 3 was kept" in said


def test_a_log_that_grew_still_holds_the_kept_head(call, site):
    kept = head_of(call, site)["head"]
    fill(site, 2)
    assert call("verify", site, "--head", kept)[0] == 0


def test_an_edited_line_is_named(call, site):
    log = site / "audit.jsonl"
    log.write_text(log.read_text().replace("budget", "policy", 1))
    code, _, said = call("verify", site)
    assert code == 3
    assert "line 1 was edited" in said


@pytest.mark.parametrize("head", ["3", "3:abc", ":", "x:" + "0" * 64, "3:" + "0" * 65])
def test_what_is_no_head_is_said_so(call, site, head):
    code, _, said = call("verify", site, "--head", head)
    assert code == 2
    assert "is no head" in said


def test_the_key_is_the_one_that_was_pinned(call, site):
    """An administrator who makes a new identity and a new log is not the site that peers know."""
    write_roster(site / "roster.json", {"north": new_identity("north").public_key})
    code, _, said = call("verify", site)
    assert code == 3
    assert "line 1 is not signed by this site" in said


def test_the_newest_lines_are_shown(call, site):
    code, out, _ = call("show", site, "--last", 2)
    assert code == 0
    assert "mask [2]" in out
    assert "mask [1]" in out
    assert "mask [0]" not in out
    code, out, _ = call("show", site, "--last", 0, "--json")
    assert [line["number"] for line in json.loads(out)] == [1, 2, 3]


@pytest.mark.parametrize("command", ["verify", "show"])
def test_a_site_without_a_log_is_said_so(call, site, command):
    (site / "audit.jsonl").unlink()
    code, _, said = call(command, site)
    assert code == 2
    assert "cannot be read" in said
