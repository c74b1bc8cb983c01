"""A model tuned at one site: charged first, refused in time, repeatable, better or not kept."""

import json
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

import client.personalise as module
from client import tables
from client.budget.accounts import budget_of, now
from client.budget.places import one_place
from client.commands import app
from client.contribute import entropy_of
from client.folder import open_site
from client.personal_files import RECORD, finish, place_for, record_of
from client.personalise import Wish, personalise
from client.predict import measure, predict
from common.errors import BudgetSpent, ConfigError, ExitCode, PolicyRefused
from common.models.registry import build
from common.parameters import to_arrays
from common.privacy.ledger import Ledger
from common.secagg.roster import Context
from common.settings import to_yaml

SITE = "hill"
ACCOUNT = "tiny-personal"
OPENLY = Wish(learning_rate=0.5, steps=20)
PRIVATELY = Wish(epsilon=1.0)


@pytest.fixture(scope="session")
def base(run_tiny):
    """A finished run without privacy, whose sites the tests below copy."""
    return run_tiny("training.num_server_rounds=3").run.root


@pytest.fixture
def write_run(tiny_study, tmp_path):
    """A run's folder with a model that nobody trained yet."""

    def write(*pairs: str) -> Path:
        study, run = tiny_study(*pairs), tmp_path / "untrained"
        run.mkdir()
        (run / "study.yaml").write_text(to_yaml(study))
        save_file(to_arrays(build(study)), run / "model.safetensors")
        return run

    return write


@pytest.fixture
def lay_site(lay_table, own_data, write_manifest):
    """A site that names its classes unlike the others do, and has budget of its own."""
    turned = {"serene": "joyful", "joyful": "aching", "aching": "serene"}
    rows = tuple(replace(row, label=turned[row.label]) for row in own_data.rows[SITE])
    write_manifest(own_data.root / "sites" / SITE / "manifest.csv", rows)

    def lay(*pairs: str, **policy: object) -> Path:
        table = lay_table(*pairs, data=own_data.root)
        table.change_policy(SITE, **{"max_epsilon": 3.0, **policy})
        return table.folder(SITE)

    return lay


def ledger_of(folder: Path) -> Ledger:
    return Ledger.open(folder / "ledger.sqlite", site=SITE)


def spent(folder: Path) -> float:
    with ledger_of(folder) as ledger:
        return ledger.spent("person", 1e-3)


def test_a_site_that_differs_gains_on_persons_who_did_not_train(base, lay_site, tmp_path):
    folder = lay_site()
    found = personalise(base, folder, OPENLY)
    assert found.before.persons == found.after.persons == 2
    assert found.after.classes.uar.value > found.before.classes.uar.value + 0.2
    out = place_for(tmp_path / "mine", folder, base)
    assert finish(found, out, keep_worse=False)["written"] == str(out)
    whole = predict(out, tmp_path / "corpus/sites" / SITE / "manifest.csv", labels=True)
    assert measure(whole).classes.uar.value > 0.5


def test_what_is_tuned_stays_in_a_private_folder_with_its_record(base, lay_site, tmp_path):
    folder = lay_site()
    place = place_for(None, folder, base)
    finish(personalise(base, folder, PRIVATELY), place, keep_worse=True)
    assert place.parent == folder / "personal"
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()}
    assert files == dict.fromkeys(("study.yaml", RECORD, "model.safetensors"), 0o600)
    record = json.loads((place / RECORD).read_text())
    assert (record["study"], record["site"], record["steps"]) == ("tiny", SITE, 10)
    assert 0.9 < record["epsilon"] <= 1.0
    assert record["epsilon_of_site"] == pytest.approx(record["epsilon"])
    accounts = {one.name: one for one in budget_of(one_place(folder), now()).studies}
    assert accounts[ACCOUNT].spent == pytest.approx(record["epsilon"])
    assert accounts[ACCOUNT].cap == 3.0
    assert record["before"]["metrics"]["persons"] == record["persons_held_out"] == 2


@pytest.mark.parametrize("wish", [OPENLY, PRIVATELY], ids=["openly", "privately"])
def test_a_model_whose_classes_were_counted_over_all_sites_is_tuned_by_the_sites_own(
    run_tiny, lay_site, wish
):
    base = run_tiny("training.num_server_rounds=1", "training.balance_over=all_sites").run.root
    folder = lay_site()
    found = personalise(base, folder, wish)
    assert found.training.balance_over == "site"
    place = place_for(None, folder, base)
    finish(found, place, keep_worse=True)
    assert set(load_file(place / "model.safetensors")) == set(load_file(base / "model.safetensors"))


@pytest.mark.parametrize("only", ["head", "all"])
def test_the_head_alone_moves_where_that_is_asked(write_run, lay_site, only):
    deep = ("model.fusion=masked_mean", "model.hidden=8", "model.width=8")
    run = write_run(*deep)
    found = personalise(run, lay_site(*deep), replace(PRIVATELY, only=only))
    before = load_file(run / "model.safetensors")
    moved = {
        name for name, value in found.arrays.items() if not np.array_equal(value, before[name])
    }
    assert any(name.startswith("head.") for name in moved)
    assert any(name.startswith("encoders.") for name in moved) == (only == "all")


def test_under_noise_the_head_alone_is_the_default_and_without_it_every_layer():
    assert (PRIVATELY.part, PRIVATELY.rounds) == ("head", 10)
    assert (Wish().part, Wish().rounds) == ("all", 5)


def test_the_branch_of_a_modality_that_the_site_lacks_stays_as_it_is(base, lay_site):
    found = personalise(base, lay_site(modalities=("features_a",)), replace(PRIVATELY, only="all"))
    before = load_file(base / "model.safetensors")
    same = {name: np.array_equal(value, before[name]) for name, value in found.arrays.items()}
    assert all(is_same == ("features_b" in name) for name, is_same in same.items())


def test_the_charge_is_on_disk_before_data_is_read_and_stays_if_that_fails(
    base, lay_site, monkeypatch
):
    folder, seen = lay_site(), []

    def fails(*_args: object, **_more: object) -> None:
        seen.append(spent(folder))
        raise RuntimeError("the machine stopped")

    monkeypatch.setattr("client.session.load_site_data", fails)
    with pytest.raises(RuntimeError):
        personalise(base, folder, PRIVATELY)
    assert 0.9 < seen[0] <= 1.0
    with ledger_of(folder) as ledger:
        assert [one.study for one in ledger.pending()] == [ACCOUNT]
    assert spent(folder) == seen[0]


def test_a_crash_among_the_steps_stays_charged_and_the_next_is_charged_too(
    base, lay_site, monkeypatch
):
    folder = lay_site()
    with monkeypatch.context() as broken:
        broken.setattr(module, "tune_locally", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            personalise(base, folder, PRIVATELY)
    once = spent(folder)
    assert once > 0.9
    found = personalise(base, folder, PRIVATELY)
    assert found.cost.epsilon_of_site == spent(folder) > once
    with ledger_of(folder) as ledger:
        assert len(ledger.pending()) == 1


def test_a_cap_that_is_met_refuses_before_anything_is_charged_or_read(base, lay_site, monkeypatch):
    folder = lay_site(max_epsilon=1.2)
    personalise(base, folder, PRIVATELY)
    before = spent(folder)
    monkeypatch.setattr("client.session.load_site_data", lambda *_, **__: pytest.fail("was read"))
    with pytest.raises(BudgetSpent, match=r"may spend ε = 1.2 .* nothing was charged") as refused:
        personalise(base, folder, PRIVATELY)
    assert refused.value.exit_code == ExitCode.PRIVACY
    assert spent(folder) == before


def test_the_cap_of_one_study_holds_for_its_personal_models(base, lay_site):
    folder = lay_site(max_epsilon=9.0, max_epsilon_per_study=1.5)
    with pytest.raises(BudgetSpent, match=f"study '{ACCOUNT}' may spend ε = 1.5"):
        personalise(base, folder, Wish(epsilon=2.0))


@pytest.mark.parametrize(
    ("policy", "wish", "key"),
    [
        ({"allow_without_privacy": False}, OPENLY, "allow_without_privacy"),
        ({"studies": ("another",)}, PRIVATELY, "studies"),
        ({"purposes": ("marketing",)}, PRIVATELY, "purposes"),
        ({"max_grad_norm": 0.5}, PRIVATELY, "max_grad_norm"),
        ({"min_persons": 5}, OPENLY, "min_persons"),
    ],
)
def test_the_gate_of_a_round_holds(base, lay_site, policy, wish, key):
    folder = lay_site(**policy)
    with pytest.raises(PolicyRefused, match=f"policy.yaml, {key}"):
        personalise(base, folder, wish)
    assert not (folder / "ledger.sqlite").exists()


def test_a_private_study_wants_an_epsilon(write_run, lay_site):
    run = write_run("privacy.mode=local", "privacy.noise_multiplier=9.0")
    with pytest.raises(ConfigError, match="--epsilon"):
        personalise(run, lay_site("privacy.mode=local"), Wish())
    assert personalise(run, lay_site("privacy.mode=local"), PRIVATELY).cost.noise_multiplier < 9


@pytest.mark.parametrize("wish", [OPENLY, PRIVATELY])
def test_a_reproducible_site_gets_the_same_model_again_and_another_one_not(base, lay_site, wish):
    seeded, free = lay_site(reproducible_seed=3), lay_site(reproducible_seed=None)
    one, two, other = (personalise(base, at, wish).arrays for at in (seeded, seeded, free))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not all(np.array_equal(one[name], other[name]) for name in one)


def test_a_seed_draws_other_noise_over_another_base_model(base, lay_site):
    """Or the difference of two personal models would hold no noise."""
    site = open_site(lay_site(reproducible_seed=3))
    context = Context(bytes(32), "", 0, 0, module.TASK, b"c" * 32, b"m" * 32)
    other = replace(context, model_hash=b"n" * 32)
    drawn = [entropy_of(SimpleNamespace(site=site), one)(32) for one in (context, context, other)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_noise_from_a_seed_is_told(base, lay_site):
    said = []
    for seed in (3, None):
        found = personalise(base, lay_site(reproducible_seed=seed), PRIVATELY)
        record = {**record_of(found), "written": None}
        assert record["noise_from_a_seed"] is (seed is not None)
        said.append("".join(map(str, tables.personal(found, record)[1:])))
    assert "protects NOBODY" in said[0]
    assert "NOBODY" not in said[1]


def test_a_model_that_got_worse_is_said_so_and_not_kept(base, lay_table, monkeypatch, tmp_path):
    folder, out = lay_table().folder(SITE), tmp_path / "out"
    asked = ["personalise", str(base), str(folder), "--out", str(out), "--steps", "20"]
    assert CliRunner().invoke(app, asked).exit_code == ExitCode.OK
    good = (out / "model.safetensors").read_bytes()
    monkeypatch.setattr(module, "tune_openly", _spoil)
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == ExitCode.FAILED
    assert "WORSE by UAR" in done.output
    assert (out / "model.safetensors").read_bytes() == good
    done = CliRunner().invoke(app, [*asked, "--keep-worse", "--json"])
    assert json.loads(done.stdout)["is_worse"] is True
    assert (out / "model.safetensors").read_bytes() != good


def _spoil(session, data, _entropy):
    for value in session.model.parameters():
        value.data.neg_()
    return data


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda run: (run / "model.safetensors").unlink(), "holds no finished run"),
        (lambda run: (run / "model.safetensors").write_bytes(b"x" * 20), "is not the model"),
        (
            lambda run: (run / "study.yaml").write_text(
                (run / "study.yaml").read_text().replace("dim: 6", "dim: 7")
            ),
            "is not the model",
        ),
        (
            lambda run: (run / "study.yaml").write_text(
                (run / "study.yaml").read_text().replace("normalise: none", "normalise: federated")
            ),
            "not that of 'tiny'",
        ),
    ],
    ids=["no model", "broken model", "another study", "no statistics"],
)
def test_a_model_that_is_not_the_studys_is_refused(base, lay_site, tmp_path, harm, said):
    shutil.copytree(base, tmp_path / "run")
    harm(tmp_path / "run")
    folder = lay_site()
    with pytest.raises(ConfigError, match=said):
        personalise(tmp_path / "run", folder, OPENLY)
    assert not (folder / "ledger.sqlite").exists()


def test_the_base_model_is_never_overwritten(base, lay_site, tmp_path):
    folder = lay_site()
    with pytest.raises(ConfigError, match="the model to begin with"):
        place_for(base, folder, base)
    with pytest.raises(ConfigError, match="not a site's folder"):
        place_for(None, tmp_path / "nowhere", base)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("wish", [{"epsilon": 0.0}, {"learning_rate": -1.0}, {"only": "tail"}])
def test_wishes_out_of_range_are_refused(wish):
    with pytest.raises(ConfigError, match="expected"):
        Wish(**wish)
