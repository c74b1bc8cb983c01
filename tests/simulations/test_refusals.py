"""What a site refuses: the run ends with the right exit code, and no data was read."""

from dataclasses import replace

import pytest

import simulations.studies
from client.app import app as client_app
from common.errors import (
    BudgetSpent,
    ConfigError,
    ExitCode,
    LedgerError,
    PolicyRefused,
    PrivacyError,
    TooFewSites,
)
from common.models.registry import build
from common.parameters import to_arrays
from common.settings import load_policy, to_yaml
from simulations.sites import prepare_federation

LOCAL = ("privacy.mode=local", "privacy.noise_multiplier=0.7")


@pytest.fixture
def whose_data_was_read(monkeypatch):
    """The sites whose recordings are read from here on."""
    import client.session as module

    read, load = [], module.load_site_data

    def watched(study, manifest, *args, **options):
        read.append(manifest.parent.name)
        return load(study, manifest, *args, **options)

    monkeypatch.setattr(module, "load_site_data", watched)
    return read


@pytest.fixture
def with_policy(monkeypatch):
    """Change one site's policy as soon as the federation is made."""

    def change(site, **changes):
        def prepare(study, data, root, seed=None):
            made = prepare_federation(study, data, root, seed)
            path = root / "sites" / site / "policy.yaml"
            path.write_text(to_yaml(replace(load_policy(path), **changes)))
            return made

        monkeypatch.setattr(simulations.studies, "prepare_federation", prepare)

    return change


def said_at(run_root, site):
    return (run_root / "federation" / "sites" / site / "site.log").read_text()


def test_a_site_whose_cap_is_met_refuses_before_reading(with_policy, run_tiny, whose_data_was_read):
    with_policy("lake", max_epsilon=0.5)
    with pytest.raises(BudgetSpent, match="lake") as error:
        run_tiny(*LOCAL)
    assert error.value.exit_code == ExitCode.PRIVACY == 3
    assert "lake" not in whose_data_was_read
    assert {"harbour", "hill"} <= set(whose_data_was_read)


def test_a_cap_holds_over_runs(lay_table, whose_data_was_read):
    """The second run of a study may spend what the first one left: nothing."""
    table = lay_table("privacy.mode=local", "training.num_server_rounds=1")
    model = to_arrays(build(table.study))
    table.sums(run="first")[0].over("train", 1, model)
    whose_data_was_read.clear()
    with pytest.raises(BudgetSpent):
        table.sums(run="second")[0].over("train", 1, {n: v + 1 for n, v in model.items()})
    assert whose_data_was_read == []


def test_a_purpose_that_a_site_does_not_allow_ends_the_run(with_policy, run_tiny, tiny_data):
    with_policy("hill", purposes=("care",))
    with pytest.raises(PolicyRefused, match="hill") as error:
        run_tiny()
    assert error.value.exit_code == ExitCode.POLICY == 4


@pytest.mark.parametrize(
    "purpose",
    ["workplace", "education", "hiring", "Employment", "workplace_monitoring", "school exams"],
)
def test_emotion_at_work_and_in_education_is_refused_whatever_the_policy_says(run_tiny, purpose):
    with pytest.raises(PolicyRefused):
        run_tiny(f"purpose={purpose}")


def test_a_study_without_privacy_is_refused_where_the_site_does_not_allow_it(with_policy, run_tiny):
    with_policy("mill", allow_without_privacy=False)
    with pytest.raises(PolicyRefused, match="mill"):
        run_tiny()


def test_exact_statistics_are_refused_under_privacy(run_tiny):
    with pytest.raises(ConfigError, match="expected normalise=none or normalise=person"):
        run_tiny(*LOCAL, "normalise=federated")


def test_more_rounds_than_a_site_allows_end_the_run(with_policy, run_tiny):
    with_policy("hill", max_rounds=1)
    with pytest.raises(PolicyRefused, match="hill"):
        run_tiny()


def test_a_damaged_ledger_ends_the_run(lay_table):
    table = lay_table(*LOCAL)
    (table.folder("hill") / "ledger.sqlite").write_bytes(b"this is no ledger" * 100)
    (table.folder("hill") / "ledger.sqlite").chmod(0o600)
    with pytest.raises(LedgerError, match="hill"):
        table.sums()[0].over("train", 1, to_arrays(build(table.study)))


def test_a_noise_multiplier_that_costs_too_much_never_starts(run_tiny, whose_data_was_read):
    with pytest.raises(PrivacyError, match=r"privacy\.noise_multiplier 0\.3 costs ε"):
        run_tiny("privacy.mode=local", "privacy.noise_multiplier=0.3")
    assert whose_data_was_read == []


@pytest.mark.parametrize(
    "changed",
    [
        {"noise_multiplier": 0.71},
        {"target_epsilon": 7.0},
        {"max_grad_norm": 2.0},
        {"sampling_rate": 0.2},
        {"mode": "none", "noise_multiplier": None},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_coordinator_with_another_study_than_the_sites_is_refused(
    lay_table, changed, whose_data_was_read
):
    table = lay_table(*LOCAL)
    other = replace(table.study, privacy=replace(table.study.privacy, **changed))
    with pytest.raises(PolicyRefused):
        table.sums(study=other)[0].over("train", 1, to_arrays(build(table.study)))
    assert whose_data_was_read == []


def test_settings_that_reach_the_sites_alone_are_refused(lay_table, whose_data_was_read):
    table = lay_table(*LOCAL)

    def app(message, context):
        context.run_config = {**context.run_config, "privacy.noise-multiplier": "0.9"}
        return client_app(message, context)

    with pytest.raises(PolicyRefused):
        table.sums(table.grid(app))[0].over("train", 1, to_arrays(build(table.study)))
    assert whose_data_was_read == []


@pytest.mark.parametrize(
    "change",
    [{"privacy.mode": "none"}, {"privacy.noise-multiplier": "90.0"}, {"split.fold": "1"}],
    ids=["privacy off", "other noise", "other fold"],
)
@pytest.mark.parametrize("stage", ["query.share", "train.mask", "query.confirm", "query.unmask"])
def test_a_round_cannot_go_on_under_another_study(lay_table, whose_data_was_read, stage, change):
    """The gate let one study pass at ADVERTISE; from some stage on the configuration is another."""
    table = lay_table(*LOCAL, "split.folds=4")
    changed = []

    def app(message, context):
        if message.metadata.message_type == stage or changed:
            changed.append(stage)
            context.run_config = {**context.run_config, **change}
        return client_app(message, context)

    with pytest.raises((TooFewSites, PolicyRefused)):
        table.sums(table.grid(app))[0].over("train", 1, to_arrays(build(table.study)))
    if stage in ("query.share", "train.mask"):
        assert whose_data_was_read == []


def test_another_model_than_was_announced_is_refused(lay_table):
    """The request carries a model whose hash is not the one that was agreed on."""
    table = lay_table()

    def app(message, context):
        if message.metadata.message_type == "train.mask":
            record = message.content["model"]
            name = next(iter(record))
            changed = record[name].numpy().copy() + 1
            record[name] = type(record[name])(changed)
        return client_app(message, context)

    with pytest.raises(TooFewSites):
        table.sums(table.grid(app))[0].over("train", 1, to_arrays(build(table.study)))


@pytest.mark.parametrize("stage", ["advertise", "mask"])
def test_a_site_joins_no_sum_of_fewer_sites_than_its_own_policy_says(lay_table, stage):
    """The study is content with three sites, the quorum too; this site wants all four."""
    table = lay_table()
    table.change_policy("hill", min_sites=4)

    def app(message, context):
        kind = message.metadata.message_type
        if table.site_of(context) == "mill" and kind.endswith(stage):
            raise RuntimeError
        return client_app(message, context)

    with pytest.raises(TooFewSites, match="fewer than 4"):
        table.sums(table.grid(app))[0].over("train", 1, to_arrays(build(table.study)))


def test_a_policy_for_more_sites_than_the_roster_has_is_refused_at_once(lay_table):
    table = lay_table()
    table.change_policy("hill", min_sites=5)
    with pytest.raises(PolicyRefused, match="hill"):
        table.sums()[0].over("train", 1, to_arrays(build(table.study)))
