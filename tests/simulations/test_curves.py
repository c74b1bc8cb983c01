"""Usefulness over ε: what is run, what is kept, what goes on after a stop."""

import io
import json
import math

import pytest
from matplotlib.image import imread
from rich.console import Console
from typer.testing import CliRunner

import tacit
from common.errors import ConfigError
from simulations import kept
from simulations.console import following
from simulations.crossval import Repeat
from simulations.curves import (
    Spot,
    curves_json,
    plan_curves,
    read_curves,
    run_spots,
    spots_of,
    write_curves,
)
from simulations.report.curves import CurvePoint, Curves, curves_table, draw_curves

SHARED, OPEN = Spot("distributed", 2.0), Spot("none", math.inf)
KNOWN = Curves(
    study="tiny",
    unit="person",
    delta=1e-3,
    chance=1 / 3,
    by_mode={
        "distributed": (CurvePoint(1.0, 0.5, 0.02, 3), CurvePoint(8.0, 0.7, 0.01, 3)),
        "local": (CurvePoint(1.0, 0.4, 0.02, 3),),
    },
    without_privacy=CurvePoint(None, 0.8, 0.01, 3),
)


@pytest.fixture
def plan(tiny_yaml, tiny_data, tmp_path):
    """The tiny study in three folds; its results in a folder of the test's own."""
    settings = ("training.num_server_rounds=2", "privacy.sampling_rate=1")
    return plan_curves(str(tiny_yaml), settings, tiny_data.root, tmp_path / "out", 0, 1)


@pytest.fixture
def played(monkeypatch):
    """Counts runs instead of playing them; the third one is broken off by Ctrl-C if asked."""
    log: list[tuple[str, float, str, str]] = []
    stop = {"at": 0}

    def run(study, data, folder, name, watch):
        folder.mkdir(parents=True)
        privacy = study.privacy
        log.append((privacy.mode, privacy.target_epsilon, name, folder.name))
        if len(log) == stop["at"]:
            raise KeyboardInterrupt
        return Repeat(name, 0.5 + 0.1 * study.split.fold, 0.4, 8)

    monkeypatch.setattr(kept, "run_repeat", run)
    return log, stop


@pytest.mark.parametrize(
    ("epsilons", "modes", "expected"),
    [
        ("1,8", "local", [("local", 1.0), ("local", 8.0)]),
        ("8, 1,1", " distributed", [("distributed", 1.0), ("distributed", 8.0)]),
        ("2,inf", "local,distributed", [("local", 2.0), ("distributed", 2.0), ("none", math.inf)]),
        ("∞", "local", [("none", math.inf)]),
    ],
)
def test_what_is_typed_names_the_places_on_the_curves(epsilons, modes, expected):
    assert [(spot.mode, spot.epsilon) for spot in spots_of(epsilons, modes)] == expected


@pytest.mark.parametrize(
    ("epsilons", "modes", "said"),
    [
        ("1,x", "local", "--epsilons has 'x'"),
        ("", "local", "--epsilons has ''"),
        ("0", "local", "above 0"),
        ("-1", "local", "above 0"),
        ("nan", "local", "above 0"),
        ("1", "lokal", "--modes has 'lokal'"),
        ("1", "local,local", "twice"),
        ("1", "", "--modes has ''"),
    ],
)
def test_places_that_are_none_are_refused(epsilons, modes, said):
    with pytest.raises(ConfigError, match=said):
        spots_of(epsilons, modes)


def test_every_fold_is_run_at_every_place_with_that_places_settings(plan, played):
    log, _ = played
    found = run_spots(plan, (SHARED, OPEN), following)
    assert [line[:3] for line in log] == [
        *(("distributed", 2.0, f"fold {k}") for k in range(3)),
        *(("none", 8.0, f"fold {k}") for k in range(3)),
    ]
    assert found.by_mode["distributed"][0].uar == pytest.approx(0.6)
    assert found.by_mode["distributed"][0].deviation == pytest.approx(0.1)
    assert found.without_privacy == CurvePoint(None, *found_values(found))
    assert found.chance == pytest.approx(1 / 3)


def found_values(found):
    point = found.by_mode["distributed"][0]
    return point.uar, point.deviation, point.repeats


def test_a_broken_off_call_goes_on_where_it_stopped(plan, played):
    log, stop = played
    stop["at"] = 3
    with pytest.raises(KeyboardInterrupt):
        run_spots(plan, (SHARED, OPEN), following)
    found = run_spots(plan, (SHARED, OPEN), following)
    assert [line[3] for line in log] == [
        *("fold-0", "fold-1", "fold-2"),
        *("fold-2-again-1", "fold-0", "fold-1", "fold-2"),
    ]
    assert run_spots(plan, (SHARED, OPEN), following) == found
    assert len(log) == 7


def test_another_setting_or_other_recordings_are_run_anew(plan, played, own_data, tiny_yaml):
    log, _ = played
    run_spots(plan, (OPEN,), following)
    more = (*plan.settings, "training.learning_rate=0.2")
    run_spots(plan_curves(str(tiny_yaml), more, plan.data, plan.out, 0, 1), (OPEN,), following)
    assert len(log) == 6
    manifest = next((own_data.root / "sites").glob("*/manifest.csv"))
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:-1]))
    others = plan_curves(str(tiny_yaml), plan.settings, own_data.root, plan.out, 0, 1)
    run_spots(others, (OPEN,), following)
    assert len(log) == 9


def test_seeds_stand_in_for_folds_where_the_manifest_holds_the_split(plan, played, tiny_yaml):
    log, _ = played
    settings = (*plan.settings, "split.folds=0")
    run_spots(plan_curves(str(tiny_yaml), settings, plan.data, plan.out, 0, 2), (OPEN,), following)
    assert [line[2] for line in log] == ["seed 0", "seed 1"]


def test_a_real_run_over_two_places(plan):
    quiet = Console(quiet=True)
    found = run_spots(plan, (SHARED, OPEN), lambda t, n: following(t, n, quiet))
    assert 0.2 < found.by_mode["distributed"][0].uar <= 1
    assert found.without_privacy is not None
    assert found.without_privacy.uar > 0.6
    study = (plan.out / "distributed-2" / "fold-0" / "study.yaml").read_text()
    assert "target_epsilon: 2.0" in study
    picture = write_curves(found, (KNOWN,), plan.out)
    assert picture.is_file()
    assert read_curves(plan.out / "curves.json") == found


def test_only_private_runs_are_drawn_again_and_the_first_draw_is_kept(plan, played, tiny_yaml):
    log, _ = played
    run_spots(plan, (SHARED, OPEN), following)
    more = plan_curves(str(tiny_yaml), plan.settings, plan.data, plan.out, 0, 1, draws=2)
    found = run_spots(more, (SHARED, OPEN), following)
    assert [line[3] for line in log[6:]] == [f"fold-{k}-draw-2" for k in range(3)]
    assert found.by_mode["distributed"][0].repeats == 6
    assert found.without_privacy is not None
    assert found.without_privacy.repeats == 3


def test_one_fold_is_refused(tiny_yaml):
    with pytest.raises(ConfigError, match="--folds is 1"):
        plan_curves(str(tiny_yaml), (), None, None, 1, 1)


def test_json_reads_back_to_equal_curves(tmp_path):
    path = tmp_path / "curves.json"
    path.write_text(curves_json(KNOWN))
    assert read_curves(path) == KNOWN


@pytest.mark.parametrize("text", ["", "3", "{}", '{"version": 2}', '{"version": 1}', None])
def test_what_holds_no_curves_is_refused(tmp_path, text):
    path = tmp_path / "curves.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match="does not hold curves"):
        read_curves(path)


def test_every_study_gets_a_panel(tmp_path):
    def size(number):
        return imread(draw_curves([KNOWN] * number, tmp_path / "new" / f"{number}.png")).shape[:2]

    (height, width), (same, wide), (tall, as_wide) = size(1), size(2), size(3)
    assert (same, as_wide) == (height, wide)
    assert wide > 1.7 * width
    assert tall > 1.7 * height


def test_the_table_has_a_line_for_each_epsilon():
    said = Console(width=120, record=True, file=io.StringIO())
    said.print(curves_table(KNOWN))
    text = said.export_text()
    assert "50.0 ± 2.0" in text
    assert "without privacy: 80.0 ± 1.0" in text
    assert json.loads(curves_json(KNOWN))["without_privacy"]["epsilon"] is None


def test_the_command_prints_json_alone_and_goes_on_in_its_folder(plan, tiny_yaml, tmp_path):
    words = ["curves", str(tiny_yaml), *plan.settings, "--epsilons", "2", "--modes", "distributed"]
    words += ["--data", str(plan.data), "--out", str(tmp_path / "out"), "--folds", "2"]
    first = CliRunner().invoke(tacit.app, [*words, "--json"], catch_exceptions=False)
    assert first.exit_code == 0, first.output
    found = json.loads(first.stdout)
    assert [point["epsilon"] for point in found["by_mode"]["distributed"]] == [2.0]
    assert found["by_mode"]["distributed"][0]["repeats"] == 2
    again = CliRunner().invoke(tacit.app, words, catch_exceptions=False)
    assert "picture" in again.stdout
    assert json.loads((tmp_path / "out" / "curves.json").read_text()) == found
    assert len(list((tmp_path / "out" / "distributed-2").iterdir())) == 2
