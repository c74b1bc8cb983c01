"""What the coordinator learns of a round: the weighted mean of the sites' updates, and no more."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from client.balance import weights_by_site
from client.contribute import entropy_of
from client.session import presence
from client.train import dropout_from, to_batch, train_openly
from common.models.registry import build
from common.parameters import group_of, model_hash, to_arrays
from common.standardise import from_lanes
from server.federate import evaluate, first_model, mean_update


def plain_update(session, context, model):
    """What a site's training changes, and the clips behind each group: no protocol involved."""
    data = session.load(model, session.train_data)
    entropy = entropy_of(session, context)
    with dropout_from(int.from_bytes(entropy(7), "little"), session.device):
        generator = torch.Generator().manual_seed(int.from_bytes(entropy(7), "little"))
        batch = to_batch(data, weights_by_site(data.y_NC), torch.device("cpu"))
        train_openly(session.model, batch, session.study, generator)
    after = to_arrays(session.model)
    clips = {name: int(mask.sum()) for name, mask in presence(data).items()} | {"all": len(data)}
    return {name: after[name] - model[name] for name in model}, clips


@pytest.mark.parametrize("fusion", ["late", "masked_mean"])
def test_the_secret_sum_is_the_weighted_mean_of_the_updates(lay_table, fusion):
    settings = (f"model.fusion={fusion}", "model.hidden=4", "model.width=4")
    table, apart = lay_table(*settings), lay_table(*settings)
    sums, _ = table.sums()
    model = to_arrays(build(table.study))
    context = table.context(sums, "train", 1, model_hash(model))
    total = sums.over("train", 1, model).decoded
    single = {site: plain_update(apart.session(site), context, model) for site in table.sites}
    layout = total.layout
    for real in layout.reals:
        group = group_of(real.name)
        weight = {site: clips[group] for site, (_, clips) in single.items()}
        expected = sum(
            weight[s] * update[real.name].astype(float) for s, (update, _) in single.items()
        ) / sum(weight.values())
        step = layout.grid(real) * layout.cap(real.weight) / sum(weight.values())
        assert np.abs(total.mean(real.name) - expected).max() <= len(single) * step
        assert total.weights[real.weight] == sum(weight.values())


def test_full_batches_and_counts_over_all_sites_make_the_step_of_one_pooled_model(lay_table):
    settings = ("modalities=features_a", "training.batch_size=4096", "training.local_epochs=1")
    settings += ("training.balance_over=all_sites", "training.weight_decay=0.01")
    table, apart = lay_table(*settings), lay_table(*settings)
    sums, _ = table.sums()
    model = first_model(sums)
    total = sums.over("train", 1, model).decoded
    sessions = [apart.session(site) for site in table.sites]
    data = [one.load(model, one.train_data) for one in sessions]
    y_NC = np.concatenate([one.y_NC for one in data])
    x = {name: np.concatenate([one.x[name] for one in data]) for name in data[0].x}
    present_NM = np.concatenate([one.present_NM for one in data])
    pooled = replace(data[0], x=x, present_NM=present_NM, y_NC=y_NC)
    own, before = sessions[0].model, to_arrays(sessions[0].model)
    batch = to_batch(pooled, weights_by_site(y_NC), torch.device("cpu"))
    train_openly(own, batch, table.study, torch.Generator().manual_seed(0))
    assert model["balance.counts"].tolist() == y_NC.sum(0).tolist()
    update, after = mean_update(total), to_arrays(own)
    for real in total.layout.reals:
        expected = after[real.name] - before[real.name]
        step = total.layout.grid(real) * total.layout.cap(real.weight) / len(y_NC)
        assert np.abs(update[real.name] - expected).max() <= len(data) * step + 1e-6
        assert len(data) * step < 0.01 < np.abs(expected).max() or real.name.endswith("bias")


def test_a_site_without_a_modality_gives_its_branch_no_weight(lay_table, tiny_data):
    table = lay_table("split.folds=0")
    total = table.sums()[0].over("train", 1, to_arrays(build(table.study))).decoded
    rows = [row for site in tiny_data.rows.values() for row in site]
    assert total.weights["weight/features_a"] == len(rows)
    assert total.weights["weight/features_b"] == sum(bool(row.features_b) for row in rows)


def test_a_branch_that_nobody_trained_stays_as_it_is(lay_table, own_data, write_manifest):
    for site, rows in own_data.rows.items():
        blind = tuple(row.__class__(**{**vars(row), "features_b": ()}) for row in rows)
        write_manifest(own_data.root / "sites" / site / "manifest.csv", blind)
    table = lay_table(data=own_data.root)
    total = table.sums()[0].over("train", 1, to_arrays(build(table.study))).decoded
    update = mean_update(total)
    assert total.weights["weight/features_b"] == 0
    assert all(not update[name].any() for name in update if "features_b" in name)
    assert any(update[name].any() for name in update if "features_a" in name)


def test_under_local_noise_a_lacking_site_declares_nobody_for_the_branch(lay_table):
    table = lay_table("privacy.mode=local", "privacy.noise_multiplier=1.0")
    policies = {site: table.session(site).site.policy for site in table.sites}
    total = table.sums()[0].over("train", 1, to_arrays(build(table.study))).decoded
    declared = {site: policy.declared_persons for site, policy in policies.items()}
    assert total.weights["weight/features_a"] == sum(declared.values())
    assert total.weights["weight/features_b"] == sum(declared.values()) - declared["mill"]


def test_shared_noise_sums_to_the_clipped_gradients_and_the_noise_that_was_meant(lay_table):
    """σ of the sum, over many parameters, is near the σ·C that the study says."""
    table = lay_table(
        "privacy.mode=distributed",
        "privacy.noise_multiplier=2.0",
        "privacy.sampling_rate=1e-6",
        "model.fusion=masked_mean",
        "model.hidden=32",
        "model.width=32",
    )
    total = table.sums()[0].over("train", 1, to_arrays(build(table.study))).decoded
    values = np.concatenate([v.reshape(-1) for v in total.sums.values()])
    # four shares of which two are sure to be honest: the sum carries sqrt(4 / 2) of σ
    assert values.std() == pytest.approx(2.0 * np.sqrt(2), rel=0.08)
    assert int(total.exacts["declared_units"]) == 16


def test_summed_statistics_are_those_of_all_training_clips(lay_table, tiny_data):
    table = lay_table("normalise=federated", "split.folds=0")
    model = first_model(table.sums()[0])
    rows = [row for site in tiny_data.rows.values() for row in site]
    for name in ("features_a", "features_b"):
        x = np.array([v for row in rows if (v := getattr(row, name))]).clip(-5, 5)
        assert np.allclose(model[f"standardise.{name}.mean"], x.mean(0), atol=1e-4)
        assert np.allclose(model[f"standardise.{name}.scale"], 1 / x.std(0), rtol=1e-3)


def test_summed_evaluation_counts_every_kept_person_once(lay_table):
    table = lay_table()
    found = evaluate(table.sums()[0], 1, to_arrays(build(table.study)))
    assert (found.classes.persons, found.classes.clips) == (8, 64)


def test_statistics_of_nobody_are_finite():
    lanes = {"count/a": np.int64(0), "sum/a": np.zeros(3, np.int64), "square/a": np.zeros(3)}
    assert all(np.isfinite(v).all() for v in from_lanes(lanes, ("a",)).values())
