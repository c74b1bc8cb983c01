import json
import re
from pathlib import Path

import jsonschema
import pytest
from rich.console import Console
from typer.testing import CliRunner

import tacit
from simulations.bench import ckks, commands
from simulations.bench.figures import Curve, Outcome
from simulations.bench.machine import facts
from simulations.bench.plot import growth
from simulations.bench.secagg_outcome import Plan, against_ckks, plan, run, steps

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((ROOT / "docs/schemas/bench.json").read_text(encoding="utf-8"))
TINY = Plan(
    sites=(4,),
    parameters=600,
    repetitions=1,
    share_sites=4,
    large_sites=4,
    large_parameters=3000,
    grow_parameters=(300, 3000),
    grow_sites=(4, 5),
    grow_update=300,
)
ROWS = [
    "masks applied against raw AES-256-CTR",
    "client: quantise, mask, serialise",
    "client: all stages",
    "server: sum, recover, decode",
    "server, 10 % dropped",
    "server: all stages",
    "server against plaintext FedAvg",
    "upload against float32",
    "client: quantise, mask, serialise",
    "share stage, x25519",
    "share stage, mlkem768_x25519",
]
CKKS_ROWS = [
    "client against CKKS: encrypt",
    "client against CKKS: encrypt, decrypt",
    "client against CKKS: bytes",
]


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    """Run `tacit` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "console", Console(width=120))
    return lambda *words: CliRunner().invoke(tacit.app, words, catch_exceptions=False)


def without_tenseal(monkeypatch):
    monkeypatch.setattr(ckks, "load", lambda: None)


def test_every_row_is_measured_and_every_step_said(monkeypatch):
    without_tenseal(monkeypatch)
    said = []
    found = run(TINY, said.append)
    assert len(said) == steps(TINY)
    assert len(set(said)) == len(said)
    assert [figure.what for figure in found.figures[:-2]] == ROWS
    assert [figure.what for figure in found.figures[-2:]] == [CKKS_ROWS[0], CKKS_ROWS[2]]
    assert {figure.verdict for figure in found.figures[:-2]} == {"reported"}
    sizes = [figure.setting["parameters"] for figure in found.figures]
    assert sizes == [600] * 8 + [3000] + [100] * 2 + [600] * 2
    lines = [(c.name, c.variant, c.x, [x for x, _ in c.points]) for c in found.curves]
    assert lines == [
        ("Flower SecAgg+", "", "parameters", [300, 3000]),
        ("Tacit", "", "parameters", [300, 3000]),
        ("Flower SecAgg+", "", "sites", [4, 5]),
        ("Tacit", "", "sites", [4, 5]),
        ("Flower SecAgg+", "10 % dropped", "sites", [4, 5]),
        ("Tacit", "10 % dropped", "sites", [4, 5]),
    ]
    assert all(y > 0 for curve in found.curves for _, y in curve.points)


def test_what_is_typed_goes_over_the_plan():
    assert plan((), 0, 0, large=False, quick=False) == Plan()
    assert plan((), 0, 0, large=True, quick=False).large_sites == 50
    typed = plan((5, 6), 300, 7, large=False, quick=True)
    assert (typed.sites, typed.parameters, typed.repetitions) == ((5, 6), 300, 7)
    assert typed.share_sites < Plan().share_sites


def test_without_tenseal_the_rows_say_so(monkeypatch):
    without_tenseal(monkeypatch)
    found = against_ckks(10, 1_000_000, 1)
    assert [figure.asked for figure in found] == [100, 20]
    assert {figure.verdict for figure in found} == {"not measured"}
    assert all("TenSEAL is not installed" in figure.note for figure in found)


def test_ckks_is_measured_where_it_installs(capfd):
    pytest.importorskip("tenseal")
    found = against_ckks(4, 9000, 1)  # more than one ciphertext: TenSEAL would print a warning
    assert [figure.what for figure in found] == CKKS_ROWS
    encrypt, both, size = found
    assert 0 < encrypt.baseline < both.baseline
    assert encrypt.tacit == both.tacit > 0
    assert size.baseline > 10 * size.tacit  # 8 bytes of ciphertext for 3 fields of 21 bits
    assert capfd.readouterr().out == ""


def test_json_is_all_of_standard_output(invoke, tmp_path):
    done = invoke("bench", "secagg", "--quick", "--json", "--plot", "growth.png")
    assert done.exit_code == 0
    made = json.loads(done.stdout)
    jsonschema.validate(made, SCHEMA, format_checker=jsonschema.FormatChecker())
    assert made["benchmark"] == "secagg"
    assert made["options"]["sites"] == [4]
    assert made["machine"]["packages"]["flwr"].startswith("1.41.")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_and_the_place_of_the_plot_are_printed(invoke, tmp_path, monkeypatch):
    without_tenseal(monkeypatch)
    monkeypatch.setattr("simulations.bench.secagg_outcome.QUICK", TINY)
    done = invoke("bench", "secagg", "--quick", "--sites", "5", "--parameters", "3000")
    assert done.exit_code == 0
    for heading in ("what", "sites", "parameters", "baseline", "Tacit", "ratio", "asked", "met"):
        assert heading in done.stdout
    for row in ("client: quantise", "share stage, mlkem768_x25519", "upload against float32"):
        assert row in done.stdout
    assert re.search(r"serialise\s+5\s+3,000", done.stdout)
    assert "TenSEAL is not installed" in done.stdout
    assert (tmp_path / re.search(r"plot: (\S+)", done.stdout)[1]).is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--plot", "growth.txt"), ".png, .svg, .pdf"),
        (("--plot", "folder.png"), "is a folder"),
        (("--sites", "3"), "--sites"),
        (("--parameters", "-1"), "--parameters"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_measured(
    invoke, tmp_path, monkeypatch, words, said
):
    (tmp_path / "folder.png").mkdir()
    monkeypatch.setattr("simulations.bench.commands.run", None)
    done = CliRunner().invoke(tacit.app, ("bench", "secagg", *words))
    assert done.exit_code != 0
    assert said in done.output + str(done.exception)


def test_the_picture_tells_sides_apart_without_colour():
    points = ((10.0, 0.1), (100.0, 1.0))
    cheap = ((10.0, 0.01), (100.0, 0.05))
    curves = [
        Curve("CKKS", "baseline", "parameters", "client", "s", points),
        Curve("Flower SecAgg+", "baseline", "parameters", "client", "s", points),
        Curve("Tacit", "tacit", "parameters", "client", "s", cheap),
        Curve("Flower SecAgg+", "baseline", "sites", "server", "s", points),
        Curve("Tacit", "tacit", "sites", "server", "s", cheap),
        Curve("Tacit", "tacit", "sites", "server", "s", points, "10 % dropped"),
    ]
    drawn = growth(Outcome("toy", "", "Flower", facts([]), {}, [], curves))
    left, right = drawn.axes
    assert {axes.get_xscale() for axes in drawn.axes} == {"log"}
    assert {axes.get_yscale() for axes in drawn.axes} == {"log"}
    looks = {line.get_label(): line for axes in drawn.axes for line in axes.get_lines()}
    marks = {
        (line.get_marker(), line.get_linestyle(), line.get_markerfacecolor())
        for line in looks.values()
    }
    assert len(marks) == len(looks) == 4
    assert [text.get_text() for text in left.texts] == ["20×", "20×"]
    assert [text.get_text() for text in right.texts] == ["20×"]
    entries = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert sorted(entries) == ["CKKS", "Flower SecAgg+", "Tacit", "Tacit, 10 % dropped"]
