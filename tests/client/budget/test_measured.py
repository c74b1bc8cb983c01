"""What a plan is held against is what the documents say was measured."""

from pathlib import Path

import pytest

from client.budget.asking import setting_asked
from client.budget.measured import MEASURED
from client.budget.planning import noise_to_signal
from common.budget import resolved

ROOT = Path(__file__).parents[3]
MODES = {"shared noise": "distributed", "noise at each site": "local"}
TRAINING = {
    "cremad_votes": (58, 6),
    "stress_predict": (21, 5),
    "ravdess": (15, 8),
    "meld": (86, 86),
    "demo": (168, 6),
}
"""Training persons of a fold, and sites, by study: docs/usefulness.md, README, the demo."""


def documented():
    """Return UAR at ε = 8 and without privacy, by name, from the table of docs/usefulness.md."""
    lines = (ROOT / "docs/usefulness.md").read_text("utf-8").splitlines()
    rows = [line.strip("| ").split("|") for line in lines if line.startswith("| ")]
    found, without = {}, {}
    for name, *cells in rows:
        study, _, noise = name.strip().partition(", ")
        if noise in MODES and len(cells) == 7:
            at_eight, openly = (cell.strip().split(" ")[0] for cell in cells[4:6])
            without[study] = float(openly) if openly else without[study]
            found[f"{study}, {MODES[noise]}"] = float(at_eight), without[study]
    return found


def test_every_row_but_the_demonstration_is_the_documents():
    ours = {one.study: (100 * one.uar, 100 * one.uar_without) for one in MEASURED}
    demo = ours.pop("demo, local")
    expected = documented()
    assert ours.keys() == expected.keys()
    assert ours == {name: pytest.approx(expected[name]) for name in ours}
    shown = (ROOT / "README.md").read_text("utf-8")
    assert all(f"{number:.1f} %" in shown for number in demo)


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: row.study)
def test_the_measured_noise_is_that_of_the_study_as_it_is_shipped(row):
    study, _, mode = row.study.partition(", ")
    persons, sites = TRAINING[study]
    asked = [f"privacy.mode={mode}", "privacy.target_epsilon=8"]
    setting = setting_asked(study, asked, {"persons": 1, "sites": sites, "parameters": None})
    sigma = resolved(setting.study, sites, setting.parameters).privacy.noise_multiplier
    found = noise_to_signal(setting, sigma) * sites / persons
    assert found == pytest.approx(row.noise_to_signal, rel=0.01)
