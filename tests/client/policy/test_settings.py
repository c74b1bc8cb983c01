"""What a coordinator may set when it starts a run."""

import json
from dataclasses import replace

import pytest

from client.policy import gate_settings
from client.policy.settings import fits
from client.session import Sessions
from common.config import SitePolicy
from common.errors import PolicyRefused
from common.models.registry import build
from common.parameters import to_arrays
from common.rules import ANY, REST, flat_keys
from common.settings import load_study, overrides_from_run_config

ROUNDS = "training.num_server_rounds"
POLICY = SitePolicy(
    site="hill",
    settings={
        ROUNDS: {"least": 2, "most": 20},
        "privacy.mode": ["local"],
        "privacy.noise_multiplier": [None, 2],
        "training.balance_classes": [True],
        "device": ANY,
        "privacy.target_epsilon": {"most": 4.0},
    },
)


def gate(*pairs, policy=POLICY):
    gate_settings(policy, pairs, load_study("demo", pairs))


def test_what_is_listed_passes():
    gate()
    gate(f"{ROUNDS}=2", "privacy.mode=local", "device=cuda:1", "privacy.target_epsilon=0.5")
    gate(f"{ROUNDS}=20", "privacy.noise_multiplier=2.0", "training.balance_classes=true")
    gate("privacy.noise_multiplier=null", "privacy.target_epsilon=4")
    for beyond in (
        f"{ROUNDS}=21",
        "privacy.noise_multiplier=2.01",
        "privacy.target_epsilon=4.0001",
    ):
        with pytest.raises(PolicyRefused, match="hill allows"):
            gate(beyond)


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (
            "seed=3",
            r"sets seed; hill leaves it training.num_server_rounds, .*policy.yaml, settings:",
        ),
        ("name=demo", "sets name; hill leaves it"),
        (f"{ROUNDS}=21", "to 21; hill allows least 2, most 20. policy.yaml, settings.training.num"),
        (f"{ROUNDS}=1", "to 1; hill"),
        ("privacy.mode=none", "to 'none'; hill allows local"),
        ("privacy.target_epsilon=4.01", "to 4.01; hill allows most 4"),
        ("privacy.noise_multiplier=1", "to 1.0; hill allows None, 2"),
        ("training.balance_classes=false", "to False"),
    ],
)
def test_what_is_not_listed_is_refused(pair, said):
    with pytest.raises(PolicyRefused, match=said):
        gate("device=cpu", pair)


def test_one_bad_setting_among_good_ones_is_refused():
    with pytest.raises(PolicyRefused, match="sets seed"):
        gate(f"{ROUNDS}=5", "seed=1", "device=cpu")


def test_a_policy_without_settings_leaves_nothing_to_the_coordinator():
    silent = SitePolicy(site="hill")
    gate(policy=silent)
    for key in flat_keys(type(load_study("demo"))):
        with pytest.raises(PolicyRefused, match="hill leaves it none"):
            gate_settings(silent, (f"{key}=1",), load_study("demo"))


def test_the_rest_may_be_left_and_a_key_of_its_own_comes_first():
    open_ = replace(POLICY, settings={REST: ANY, ROUNDS: [3]})
    gate("seed=9", f"{ROUNDS}=3", policy=open_)
    with pytest.raises(PolicyRefused, match="allows 3"):
        gate(f"{ROUNDS}=4", policy=open_)


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        (1, [True]),
        (True, {"most": 5}),
        (None, {"least": 0}),
        ("2", {"most": 3}),
        (3, "3"),
        (3, None),
    ],
)
def test_what_is_of_another_kind_fits_nothing(value, allowed):
    assert not fits(value, allowed)


def test_a_run_config_is_held_to_it_before_data_is_read(lay_table):
    table = lay_table("privacy.mode=local")
    table.change_policy("hill", settings={ROUNDS: [2]})
    folder = table.folder("hill")

    def ask(**run_config):
        overrides = overrides_from_run_config(
            {k.replace("__", "."): v for k, v in run_config.items()}
        )
        return Sessions()(folder, table.config["study"], overrides, ())

    assert ask(training__num_server_rounds="2", seed="").study.training.num_server_rounds == 2
    with pytest.raises(PolicyRefused, match="sets seed"):
        ask(seed="5")
    with pytest.raises(PolicyRefused, match="allows 2"):
        ask(**{"training__num-server-rounds": "3"})


def test_the_coordinator_learns_one_word_and_the_site_keeps_the_reason(lay_table):
    table = lay_table()
    table.change_policy("hill", settings={})
    table.config["device"] = "cpu"
    with pytest.raises(
        PolicyRefused, match=r"^hill refused: the site's policy does not allow this"
    ):
        table.sums()[0].over("evaluate", 1, to_arrays(build(table.study)))
    lines = [json.loads(x) for x in (table.folder("hill") / "site.log").read_text().splitlines()]
    assert any("sets device" in line["reason"] for line in lines)
