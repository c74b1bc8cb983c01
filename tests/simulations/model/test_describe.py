"""What a study's model is said to be: counts that add up, bytes that are sent, a picture."""

import json
from xml.etree import ElementTree

import pytest
from PIL import Image
from typer.testing import CliRunner

from common.errors import ConfigError
from common.inputs import input_shapes
from common.secagg.layout import Layout
from common.settings import load_study, study_names
from common.sums import parameters_of, train_layout
from simulations.model.commands import app
from simulations.model.describe import describe
from simulations.model.picture import draw_model
from simulations.model.screen import amount

WIDE = ("model.hidden=32", "model.width=16", "model.fusion=transformer")
MODES = ("none", "distributed")
GRU = "modalities.audio={front_end: logmel, encoder: gru}"


def words(layout: Layout) -> int:
    return 8 * layout.words


@pytest.mark.parametrize("name", study_names())
def test_parameters_and_bytes_are_those_of_the_run(name):
    study = load_study(name)
    found = describe(study, 6)
    assert found.parameters == parameters_of(study)
    assert found.upload_bytes == words(train_layout(study, 6))
    assert found.download_bytes == 4 * found.parameters
    encoders = [one for one in found.branches if one.kind == "encoder"]
    assert {one.name: one.reads for one in encoders} == input_shapes(study)


def test_branches_send_what_the_whole_sends():
    found = describe(load_study("demo", WIDE), 5)
    sent = sum(one.upload_bytes for one in found.branches)
    weights = 8 * (4 + 1)
    assert found.upload_bytes - weights <= sent <= found.upload_bytes - weights + 8 * 6


def test_linear_layers_cost_their_weights():
    """One product for each weight of a linear map; a transformer's head too."""
    found = {one.name: one for one in describe(load_study("demo", WIDE), 5).branches}
    assert found["physio"].multiply_adds == 66 * 32 + 32 * 16
    assert found["physio"].parameters == 66 * 32 + 32 + 2 * 32 + 32 * 16 + 16
    assert found["head"].multiply_adds == 16 * 5


def test_recurrent_and_convolutional_layers_are_counted():
    found = {one.name: one for one in describe(load_study("demo", (*WIDE, GRU)), 5).branches}
    convolution, projection, steps = 32 * 32 * 40 * 5, 32 * 32 * 96, 32 * 32 * 96
    assert found["audio"].multiply_adds == convolution + projection + steps + 32 * 16
    assert found["audio"].reads == (64, 40)


def test_shared_noise_takes_one_word_more_and_no_weights():
    open_study, private = (load_study("cremad_votes", (f"privacy.mode={m}",)) for m in MODES)
    assert describe(private, 6).upload_bytes == describe(open_study, 6).upload_bytes - 8


def test_times_only_where_asked_for():
    study = load_study("demo", WIDE)
    assert all(one.forward_ms is None for one in describe(study, 5).branches)
    timed = describe(study, 5, timed=True)
    assert all((one.forward_ms or 0) > 0 and (one.backward_ms or 0) > 0 for one in timed.branches)


def test_machine_output_is_json_alone(tmp_path):
    plot = tmp_path / "deep" / "model.svg"
    args = ["describe", "cremad_votes", "--json", "--plot", str(plot)]
    done = CliRunner().invoke(app, args)
    found = json.loads(done.stdout)
    assert done.exit_code == 0
    assert (found["parameters"], len(found["branches"])) == (96, 4)
    root = ElementTree.fromstring(plot.read_text())
    assert "features_face" in plot.read_text()
    assert root.get("aria-label")


def test_a_line_for_each_branch():
    done = CliRunner().invoke(app, ["describe", "demo", "--timed"])
    assert done.exit_code == 0
    for name in ("audio", "video", "fusion", "5,070", "on one core", "speech_functionals"):
        assert name in done.stdout


def test_a_picture_is_drawn_and_other_endings_are_refused(tmp_path):
    found = describe(load_study("demo", WIDE), 5)
    with Image.open(draw_model(found, tmp_path / "m.png")) as picture:
        assert picture.width > picture.height > 200
    with pytest.raises(ConfigError, match=r"\.svg or \.png"):
        draw_model(found, tmp_path / "m.gif")


def test_equal_studies_give_equal_pictures(tmp_path):
    found = describe(load_study("demo"), 5)
    one, two = (draw_model(found, tmp_path / name) for name in ("a.svg", "b.svg"))
    assert one.read_text() == two.read_text()


@pytest.mark.parametrize(
    ("value", "said"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_600, "1 MB")]
)
def test_amounts_have_three_digits(value, said):
    assert amount(value, "B") == said
