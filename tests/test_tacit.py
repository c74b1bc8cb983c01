"""The command line: one sentence and a true exit code, whatever goes wrong."""

import importlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
import typer

import tacit
from common.errors import (
    BudgetSpent,
    ConfigError,
    DataError,
    EnvironmentFault,
    ExitCode,
    PeerMisbehaved,
    PolicyRefused,
    PrivacyError,
    TacitError,
    TooFewSites,
)

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("name", tacit.COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name):
    said = (tacit.load(name).help or "").split("\n\n")[0]
    assert tacit.COMMANDS[name][0] == " ".join(said.split())


def test_no_command_is_forgotten():
    places = {place for _, found in tacit.COMMANDS.values() for place in found}
    modules = {place.partition(":")[0] for place in places}
    files = [
        path for top in ("client", "server", "simulations") for path in (ROOT / top).rglob("*.py")
    ]
    named = [path for path in files if path.stem.endswith("commands")]
    assert modules == {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in named}
    top = tacit.load("simulate"), tacit.load("predict")
    assert all(isinstance(command, click.Command) for command in top)
    for module in ("simulations.commands", "client.commands"):
        group = typer.main.get_group(importlib.import_module(module).app)
        assert set(group.commands) <= set(tacit.COMMANDS)


def imported_by(*words: str) -> set[str]:
    """The modules that a command imports."""
    said = "atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))"
    script = f"import atexit, sys, tacit; {said}; sys.argv = {['tacit', *words]}; tacit.main()"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "words", [(), ("site",), ("coordinator",)], ids=["", "site", "coordinator"]
)
def test_help_imports_nothing_that_takes_long(words):
    """So that a supervisor stays small, and what it starts again is there soon."""
    found = imported_by(*words, "--help")
    assert "click" in found
    assert not found & {"torch", "flwr", "scipy", "matplotlib"}


@pytest.fixture
def failing(monkeypatch):
    """Let `tacit` run a command that raises what the test says."""

    def run(error: BaseException, *options: str) -> int:
        app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)

        @app.command()
        def fail() -> None:
            raise error

        monkeypatch.setattr(tacit, "app", app)
        monkeypatch.setattr(sys, "argv", ["tacit", *options])
        with pytest.raises(SystemExit) as ended:
            tacit.main()
        return int(ended.value.code or 0)

    return run


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TacitError("It failed."), 1),
        (EnvironmentFault("The port is taken."), 1),
        (TooFewSites("Two are left."), 1),
        (PeerMisbehaved("hill", "said nonsense"), 1),
        (ConfigError("There is no such study."), 2),
        (DataError("The manifest is wrong."), 2),
        (PrivacyError("The noise is too little."), 3),
        (BudgetSpent("The cap is met."), 3),
        (PolicyRefused("hill refused."), 4),
        (OSError(28, "No space left on device", "/runs/x"), 1),
        (RuntimeError("unforeseen"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_ends_in_one_sentence_and_its_exit_code(failing, capsys, error, code):
    assert failing(error) == code
    out, said = capsys.readouterr()
    assert out == ""
    assert said.strip()
    assert "Traceback" not in said
    if isinstance(error, TacitError):
        assert said.split() == str(error).split()


def test_a_full_disk_is_said(failing, capsys):
    failing(OSError(28, "No space left on device", "/runs/x"))
    said = " ".join(capsys.readouterr().err.split())
    assert "disk is full" in said
    assert "/runs/x" in said


def test_a_fault_of_tacits_own_says_so(failing, capsys):
    failing(KeyError("weights"))
    said = " ".join(capsys.readouterr().err.split())
    assert "fault of Tacit itself: KeyError" in said
    assert "--debug" in said


def test_stopping_is_said(failing, capsys):
    failing(KeyboardInterrupt())
    assert capsys.readouterr().err.strip() == "Stopped."


def test_debug_shows_where_it_happened(monkeypatch):
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)

    @app.command()
    def fail() -> None:
        raise ConfigError("No.")

    monkeypatch.setattr(tacit, "app", app)
    monkeypatch.setattr(sys, "argv", ["tacit", "--debug"])
    with pytest.raises(ConfigError):
        tacit.main()


@pytest.fixture
def command(monkeypatch, tmp_path, capsys):
    """Run `tacit` in an empty folder, in this process: exit code, output, what was said."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "400")
        monkeypatch.setattr(sys, "argv", ["tacit", *arguments])
        with pytest.raises(SystemExit) as ended:
            tacit.main()
        out, said = capsys.readouterr()
        return int(ended.value.code or 0), out, " ".join(said.split())

    return run


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("simulate", "no-such-study"), 2, "There is no study 'no-such-study'"),
        (("simulate", "cremad_vote"), 2, "Did you mean cremad_votes"),
        (("simulate", "cremad_votes", "--data", "missing"), 2, "holds no recordings"),
        (("simulate", "cremad_votes", "training.learning_rat=1"), 2, "learning_rate"),
        (("predict", "no-run", "m.csv"), 2, "holds no finished run"),
        (("evaluate", "no-run", "m.csv"), 2, "holds no finished run"),
        (("personalise", "no-run", "no-site"), 2, "is not a site's folder"),
        (("simulat",), 2, "simulat"),
        (("simulate",), 2, "STUDY"),
        (("simulate", "cremad_votes", "--engin", "x"), 2, "--engin"),
        (("data", "import", "nothing", "src", "out"), 2, "nothing"),
    ],
)
def test_what_a_newcomer_gets_wrong_is_said_in_a_sentence(command, arguments, code, said):
    ended, out, error = command(*arguments)
    assert ended == code, error
    assert said in error
    assert "Traceback" not in error + out


def test_the_program_itself_ends_with_that_code_and_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "tacit.py"), "simulate", "no-such-study"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ExitCode.BAD_INPUT
    assert done.stderr.startswith("There is no study 'no-such-study'")
    assert done.stdout == ""


def test_a_run_from_the_command_line_ends_on_one_screen_and_a_report(
    command, tiny_data, tiny_yaml, tmp_path
):
    given = ("--engine", "in-process", "--data", str(tiny_data.root), "--out", "run")
    code, out, error = command("simulate", str(tiny_yaml), *given)
    assert code == 0, error
    assert "UAR" in out
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert list((tmp_path / "run").glob("*.html"))


def heed_ctrl_c() -> None:
    """A shell's background job ignores Ctrl-C and hands that on; a person's terminal does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
def test_ctrl_c_ends_a_run_at_once_with_130(tmp_path, tiny_data, tiny_yaml):
    arguments = ["simulate", str(tiny_yaml), "training.num_server_rounds=5000"]
    arguments += ["--engine", "in-process", "--data", str(tiny_data.root)]
    arguments += ["--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tacit.py"), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509 - it only sets a signal, just before exec
    )
    progress = tmp_path / "run" / "progress.jsonl"
    while process.poll() is None and not progress.exists():
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "Traceback" not in said
    assert "Stopped." in said
