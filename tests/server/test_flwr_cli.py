"""The `flwr` command line as it is used: its true end is asked for, its refusals are errors."""

import json
import stat
import sys
import tomllib
from pathlib import Path

import pytest

import server.flwr_cli
from common.errors import EnvironmentFault
from server.flwr_cli import Flwr, RunFailed, as_toml, play, write_connection

SCRIPT = """\
#!{python}
import json, os, sys
from pathlib import Path
here = Path({folder!r})
with (here / "calls").open("a") as out:
    out.write(json.dumps([sys.argv[1:], os.getcwd(), os.environ.get("FLWR_HOME")]) + "\\n")
answers = json.loads((here / "answers").read_text())
turn = answers[sys.argv[1]]
print(turn.pop(0) if len(turn) > 1 else turn[0])
(here / "answers").write_text(json.dumps(answers))
for name in ([] if sys.argv[1] != "build" else ["made.fab"]):
    Path(name).write_bytes(b"bundle")
"""


class Fake:
    """A program in the place of `flwr`: answers what it was told, and keeps what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cwd = folder, folder / "empty"
        self.cwd.mkdir()
        self.path = folder / "flwr"
        self.path.write_text(SCRIPT.format(python=sys.executable, folder=str(folder)))
        self.path.chmod(self.path.stat().st_mode | stat.S_IXUSR)

    def answers(self, **said: list[object]) -> Flwr:
        text = {
            k: [v if isinstance(v, str) else json.dumps(v) for v in vs] for k, vs in said.items()
        }
        (self.folder / "answers").write_text(json.dumps(text))
        return Flwr({"FLWR_HOME": "/home/flwr", "PATH": "/usr/bin:/bin"}, self.cwd)

    @property
    def calls(self) -> list[list[str]]:
        lines = (self.folder / "calls").read_text().splitlines()
        assert {tuple(json.loads(line)[1:]) for line in lines} == {(str(self.cwd), "/home/flwr")}
        return [json.loads(line)[0] for line in lines]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch) -> Fake:
    made = Fake(tmp_path)
    monkeypatch.setattr(server.flwr_cli, "_FLWR", made.path)
    monkeypatch.setattr(server.flwr_cli, "_POLL_S", 0.0)
    return made


STARTED = {"success": True, "run-id": 7}


def status(word: str) -> dict[str, object]:
    return {"success": True, "runs": [{"status": word}]}


def test_a_run_is_followed_to_its_true_end(fake: Fake) -> None:
    flwr = fake.answers(run=[STARTED], list=[status("running"), status("finished:completed")])
    watched: list[bool] = []
    play(flwr, {"study": "demo", "resume": False}, lambda: bool(watched.append(True)), "--opt")
    submitted = fake.calls[0]
    assert submitted[submitted.index("-c") + 1] == 'study="demo" resume=false'
    assert "--opt" in submitted
    assert fake.calls[-1][:3] == ["list", "--run-id", "7"]
    assert watched


@pytest.mark.parametrize("word", ["finished:failed", "finished:stopped"])
def test_a_run_that_failed_is_an_error_with_the_end_of_its_log(fake: Fake, word: str) -> None:
    flwr = fake.answers(run=[STARTED], list=[status(word)], log=["the last\nlines"], stop=[""])
    with pytest.raises(RunFailed, match=rf"ended as {word}.\nthe last\nlines"):
        play(flwr, {}, lambda: False)


def test_a_run_that_flower_refuses_is_the_environments_fault(fake: Fake) -> None:
    flwr = fake.answers(run=[{"success": False, "error-message": "no federation"}])
    with pytest.raises(EnvironmentFault, match="refused: no federation"):
        play(flwr, {}, lambda: False)


def test_words_before_the_json_are_passed_over_and_no_json_is_an_error(fake: Fake) -> None:
    assert fake.answers(run=["Loading ...\n" + json.dumps(STARTED)]).start({}) == "7"
    with pytest.raises(EnvironmentFault, match="flwr run said: what is this"):
        fake.answers(run=["what is this"]).start({})


@pytest.mark.parametrize("kind", [KeyboardInterrupt, RunFailed])
def test_an_interrupt_or_a_failure_stops_the_run(fake: Fake, kind: type[BaseException]) -> None:
    flwr = fake.answers(run=[STARTED], list=[status("running")], stop=["{}"])

    def interrupt() -> bool:
        raise kind

    with pytest.raises(kind):
        play(flwr, {}, interrupt)
    assert fake.calls[-1][:2] == ["stop", "7"]


def test_a_node_that_is_known_already_is_no_error_and_any_other_refusal_is(fake: Fake) -> None:
    key = Path("/keys/north.pub")
    for answer in ({"success": True}, {"success": False, "error-message": "already registered"}):
        fake.answers(supernode=[answer]).register(key, "north")
    assert fake.calls[0][:3] == ["supernode", "register", str(key)]
    refused = {"success": False, "error-message": "bad key"}
    with pytest.raises(EnvironmentFault, match="north was not registered: bad key"):
        fake.answers(supernode=[refused]).register(key, "north")


def test_a_bundle_is_taken_from_where_flower_leaves_it(fake: Fake, tmp_path: Path) -> None:
    made = fake.answers(build=["Successfully built"]).build(tmp_path)
    assert made == tmp_path / "made.fab"
    assert made.read_bytes() == b"bundle"
    assert list(fake.cwd.iterdir()) == []


@pytest.mark.parametrize("ca", [None, Path('/a "b"/ca.crt')])
def test_the_connection_is_read_back_as_it_was_meant(tmp_path: Path, ca: Path | None) -> None:
    write_connection(tmp_path, "127.0.0.1:8000", ca)
    found = tomllib.loads((tmp_path / "config.toml").read_text())["superlink"]
    expected = {"root-certificates": str(ca)} if ca else {"insecure": True}
    assert found == {"default": "tacit", "tacit": {"address": "127.0.0.1:8000", **expected}}


@pytest.mark.parametrize("value", [True, False, 0.5, 3, "", 'a "b" \\ c', "ünïcode"])
def test_a_value_is_written_as_toml_reads_it(value: object) -> None:
    assert tomllib.loads(f"x = {as_toml(value)}")["x"] == value  # type: ignore[arg-type]
