"""`tacit bench dp` measures what it says, on models of the sizes it says."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from simulations.bench import dp, dp_outcome
from simulations.bench.dp_memory import peak_bytes
from simulations.bench.dp_models import MODELS, Rows
from simulations.bench.dp_sides import SIDES

ROOT = Path(__file__).resolve().parents[3]
PARAMETERS = {
    "MLP head on 3072 features": 0.86e6,
    "fusion transformer 128": 0.59e6,
    "fusion transformer 256": 2.4e6,
    "fusion 128, 16 tokens": 0.59e6,
    "text transformer": 1.4e6,
}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_models_have_the_sizes_of_the_table_and_one_row_of_scores_a_clip(model):
    built, rows = model.build(), Rows.of(model, 2)
    assert built(rows.x, rows.present_BM).shape == (2, 6)
    size = sum(parameter.numel() for parameter in built.parameters())
    assert size == pytest.approx(PARAMETERS.get(model.name, size), rel=0.03)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("side", SIDES)
def test_a_step_of_each_side_moves_the_model(side):
    model = MODELS[1].build()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    step = SIDES[side](replace(MODELS[1], build=lambda: model), Rows.of(MODELS[1], 4))
    step()
    still = [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    assert all(name.endswith("key.bias") for name in still), "softmax takes no notice of these"


def test_the_peak_counts_what_is_held_at_once():
    def step():
        for _ in range(3):
            torch.zeros(1 << 20)

    assert 4 << 20 <= peak_bytes(step) < 6 << 20


def test_counting_says_nothing_on_standard_error():
    code = (
        "import torch\n"
        "from simulations.bench.dp_memory import peak_bytes\n"
        "print(peak_bytes(lambda: torch.zeros(1 << 20)))"
    )
    environment = {name: value for name, value in os.environ.items() if "KINETO" not in name}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) >= 4 << 20
    assert done.stderr == ""


@pytest.mark.filterwarnings("ignore")
def test_the_clipped_sum_is_off_by_no_more_than_asked():
    assert all(figure.met for figure in dp.exactness_figures(MODELS[1]))


def test_a_mean_is_the_geometric_one_of_its_batch():
    found = {"plain": 1.0, "record": 2.0, "person": 2.0}
    other = {"plain": 1.0, "record": 8.0, "person": 2.0}
    figures = [
        *dp.time_figures(MODELS[0], 64, found, asked=True),
        *dp.time_figures(MODELS[1], 64, other, asked=True),
        *dp.time_figures(MODELS[1], 256, other, asked=True),
    ]
    assert [figure.met for figure in figures if figure.what.startswith("DP")] == [
        False,
        False,
        None,
    ]
    means = dp.mean_figures(figures, 64, asked=True)
    assert [mean.ratio for mean in means] == pytest.approx([4.0, 0.5])


def test_quick_asks_nothing_of_times():
    chosen = dp_outcome.plan((), quick=True)
    assert not chosen.is_full
    assert dp_outcome.plan((32,), quick=False).batches == (32,)
