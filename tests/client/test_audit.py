"""`tacit audit dp` passes on the build as it is and finds each fault that is planted in it.

Faults are planted from here, into the very functions that train; there is no switch for them.
"""

import inspect
import json
import math
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import client.audit
import client.contribute
import client.train
import common.privacy.ledger.state as ledger_state
import common.secagg.masks
import tacit
from client.audit import SMALL, audit_study, epsilon_of_mu, in_mode, modes_of
from client.audit_commands import to_json
from client.audit_people import CANARIES, FAR_ABOVE, people_for
from common.errors import ConfigError, PrivacyError
from common.models.registry import build
from common.privacy import plan
from common.privacy.mechanism import CryptoStream
from common.settings import load_study

QUICK = 40
"""Coin tosses where a fault is to be found."""


def bound(function, arguments, options, **changes):
    """Call a function as it was called, but for some arguments."""
    call = inspect.signature(function).bind(*arguments, **options)
    call.arguments.update(changes)
    return function(*call.args, **call.kwargs)


def argument(function, arguments, options, name):
    return inspect.signature(function).bind(*arguments, **options).arguments[name]


def no_noise(patch):
    def silent(*args, **options):
        total = argument(real, args, options, "clipped_sum")
        divisor = argument(real, args, options, "divisor")
        return {name: tensor.float() / divisor for name, tensor in total.items()}

    real = client.train.add_noise
    patch.setattr(client.train, "add_noise", silent)


def noise_times(factor):
    def plant(patch):
        def weaker(*args, **options):
            sigma = argument(real, args, options, "noise_multiplier")
            return bound(real, args, options, noise_multiplier=factor * sigma)

        real = client.train.add_noise
        patch.setattr(client.train, "add_noise", weaker)

    return plant


def shares_times(factor):
    def plant(patch):
        real = client.contribute.discrete_gaussian_table
        patch.setattr(
            client.contribute, "discrete_gaussian_table", lambda sigma: real(factor * sigma)
        )

    return plant


def no_share(patch):
    patch.setattr(client.contribute, "sample_share", lambda _s, size, _t: np.zeros(size, np.int64))


def clipping_to(norm):
    def plant(patch):
        real = client.train.clipped_sum
        patch.setattr(
            client.train, "clipped_sum", lambda *a, **o: bound(real, a, o, max_grad_norm=norm)
        )

    return plant


def norms_of_the_batch_before(patch):
    """Each unit is shortened by the norm of the unit that stood there in the step before."""
    last = []

    def stale(*args, **options):
        given = inspect.signature(real).bind(*args, **options).arguments
        own = real(*args, **options).norms_U.double()
        used = own.clone()
        for before in last:
            both = min(len(before), len(own))
            used[:both] = before[:both]
        last[:] = [own]
        factors_U = torch.clamp(given["max_grad_norm"] / used.clamp(min=1e-12), max=1.0)
        weights_B = factors_U[given["unit_B"]].float()
        loss = given["loss_per_sample"]

        def scaled(logits_BC, y_BC):
            return loss(logits_BC, y_BC) * weights_B

        return bound(real, args, options, loss_per_sample=scaled, max_grad_norm=1e9)

    real = client.train.clipped_sum
    patch.setattr(client.train, "clipped_sum", stale)


def seeded_generator(patch):
    patch.setattr(client.contribute, "entropy_of", lambda _session, _context: bytes)


def accountant_of_each_round(patch):
    """A fresh ledger each round, as a fresh engine in each round has a fresh accountant."""
    real = client.contribute.charge

    def forgetful(session, context):
        session.ledger.close()
        for file in session.site.root.glob("ledger.sqlite*"):
            file.unlink()
        del vars(session)["ledger"]
        return real(session, context)

    patch.setattr(client.contribute, "charge", forgetful)


def totals_of_the_last_round(patch):
    real = ledger_state.Replay._reserve

    def forgetful(self, entry):
        for total in self.totals.values():
            total.clear()
        real(self, entry)

    patch.setattr(ledger_state.Replay, "_reserve", forgetful)
    patch.setattr(ledger_state.Replay, "_commit", lambda self, entry: None)


def no_masks(patch):
    patch.setattr(common.secagg.masks.Masks, "apply", lambda _self, _segment, _chunk: None)


def one_mask_for_all(patch):
    def same(_self, segment, chunk):
        chunk += np.random.default_rng(segment).integers(0, 1 << 63, len(chunk), dtype=np.uint64)

    patch.setattr(common.secagg.masks.Masks, "apply", same)


def batches_of_one_size(patch):
    def mask(self, size, rate):
        chosen = np.zeros(size, bool)
        chosen[self.choose(size, round(size * rate))] = True
        return chosen

    patch.setattr(CryptoStream, "poisson_mask", mask)


def everybody_joins(patch):
    patch.setattr(CryptoStream, "poisson_mask", lambda self, size, rate: np.ones(size, bool))


FAULTS = {
    "no noise": ("local", no_noise, {"noise", "telling apart"}),
    "no share of noise": ("distributed", no_share, {"noise", "telling apart"}),
    "noise halved": ("local", noise_times(0.5), {"noise"}),
    "shares halved": ("distributed", shares_times(0.5), {"noise"}),
    "clipping off": ("local", clipping_to(1e9), {"clipping"}),
    "clipping off, shared": ("distributed", clipping_to(1e9), {"clipping"}),
    "generator seeded": ("local", seeded_generator, {"fresh noise"}),
    "generator seeded, shared": ("distributed", seeded_generator, {"fresh noise"}),
    "norms of the batch before": ("local", norms_of_the_batch_before, {"clipping"}),
    "accountant reset": ("local", accountant_of_each_round, {"accounting"}),
    "totals reset": ("distributed", totals_of_the_last_round, {"accounting"}),
    "a share without a sum": ("local", noise_times(1 / math.sqrt(4)), {"noise"}),
    "shares without masks": ("distributed", no_masks, {"masking"}),
    "one mask for all rounds": ("local", one_mask_for_all, {"masking"}),
    "batches of one size": ("local", batches_of_one_size, {"sampling alone"}),
    "everybody in each step": ("distributed", everybody_joins, {"sampling rate"}),
}
"""Name -> mode, what plants it, and the checks that must fail."""

WORST = (
    "no noise",
    "noise halved",
    "clipping off",
    "generator seeded",
    "norms of the batch before",
    "accountant reset",
    "a share without a sum",
)
"""Faults that have to be found each time; the others are other forms of them, and quicker."""


def reproducible(patch, seed):
    """Let noise and sampling come from a seed, as nothing but a test may: a run that passes
    passes again."""
    draw = np.random.default_rng(seed)
    patch.setattr(client.contribute, "entropy_of", lambda _session, _context: draw.bytes)
    return np.random.default_rng(seed + 1).bytes


def failed(report):
    return {check.name for check in report.checks if not check.holds}


def broken_checks(name, seed):
    """Plant a fault and return the checks that fail.

    A ledger that forgets is refused by the sites themselves, before the audit comes to look at it.
    """
    mode, plant, _ = FAULTS[name]
    with pytest.MonkeyPatch.context() as patch:
        entropy = reproducible(patch, seed)
        plant(patch)
        try:
            return failed(audit_study(in_mode(SMALL, mode), entropy, repetitions=QUICK))
        except PrivacyError as error:
            return {"accounting"} if str(error).count("refused: LedgerError") == 4 else set()


@pytest.mark.parametrize("mode", ["local", "distributed"])
def test_the_build_passes(mode, monkeypatch):
    report = audit_study(in_mode(SMALL, mode), reproducible(monkeypatch, 5))
    assert failed(report) == set()
    assert report.holds
    assert 0.4 < report.mu_lower < report.mu_charged == 1.0
    assert 0 < report.epsilon_lower < report.epsilon_charged
    names = [check.name for check in report.checks]
    assert len(names) == len(set(names)) == 9


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name):
    assert FAULTS[name][2] <= broken_checks(name, 0)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("name", WORST)
def test_a_planted_fault_is_found_forty_times_of_forty(name, part):
    for seed in range(100 + 10 * part, 110 + 10 * part):
        assert FAULTS[name][2] <= broken_checks(name, seed), seed


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_no_false_alarm_in_two_hundred_runs(part, monkeypatch):
    for seed in range(1000 + 10 * part, 1010 + 10 * part):
        mode = ("local", "distributed")[seed % 2]
        report = audit_study(in_mode(SMALL, mode), reproducible(monkeypatch, seed))
        assert failed(report) == set(), (seed, mode)


def test_noise_of_the_operating_system_passes():
    """The same without any seed: this run cannot be repeated."""
    import os

    report = audit_study(SMALL, os.urandom)
    assert failed(report) - {"telling apart"} == set()  # that one has a level of 0.1 %


@pytest.mark.parametrize(
    "changes",
    [
        {"unit": "record"},
        {"sampling_rate": 1.0},
        {"max_grad_norm": 50.0},
        {"noise_multiplier": None, "target_epsilon": 8.0},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_other_terms_pass_too(changes, monkeypatch):
    study = replace(SMALL, privacy=replace(SMALL.privacy, **changes))
    report = audit_study(study, reproducible(monkeypatch, 3), repetitions=QUICK)
    assert failed(report) == set()
    assert report.unit == study.privacy.unit
    has_sampling = any(check.name == "sampling rate" for check in report.checks)
    assert has_sampling == (study.privacy.sampling_rate < 1)


@pytest.mark.parametrize("fusion", ["masked_mean", "transformer"])
def test_models_with_hidden_layers_are_audited(fusion, monkeypatch):
    """Dropout is left out, so that a canary pulls one way in each step."""
    model = replace(SMALL.model, width=16, hidden=8, fusion=fusion, dropout=0.3)
    study = replace(SMALL, model=model)
    entropy = reproducible(monkeypatch, 4)
    assert failed(audit_study(study, entropy, repetitions=QUICK)) == set()
    noise_times(0.5)(monkeypatch)
    assert "noise" in failed(audit_study(study, entropy, repetitions=QUICK))


def test_a_study_is_audited_in_its_own_mode_and_none_in_both():
    assert [one.privacy.mode for one in modes_of(None)] == ["local", "distributed"]
    shared = load_study("demo", ["privacy.mode=distributed"])
    assert modes_of(shared) == (shared,)
    open_ = load_study("ravdess")
    assert open_.privacy.mode == "none"
    assert [one.privacy.mode for one in modes_of(open_)] == ["local"]


def test_canaries_pull_their_own_way_and_far():
    model = build(SMALL)
    people = people_for(SMALL, model, np.random.default_rng(0))
    assert people.canaries == CANARIES
    assert np.allclose(people.basis_KP @ people.basis_KP.T, np.eye(len(people.basis_KP)))
    own = np.diag(people.pull_MK[:, :CANARIES])
    assert (own > 0.9).all()
    assert people.raw_norm > 0
    some = people.with_canaries(np.arange(CANARIES) < 2)
    assert len(np.unique(some.person_N)) == len(people.data.person_ids) - CANARIES + 2
    assert len(people.nobody()) == 0


def test_canaries_are_far_above_the_clipping_norm_of_each_audit(monkeypatch):
    """Whatever norm a study has, its canaries are clipped: else clipping would not be tested."""
    seen = []
    real = client.train.clipped_sum

    def watched(*args, **options):
        found = real(*args, **options)
        norm = argument(real, args, options, "max_grad_norm")
        seen.extend((found.norms_U / norm).tolist())
        return found

    monkeypatch.setattr(client.train, "clipped_sum", watched)
    study = replace(SMALL, privacy=replace(SMALL.privacy, max_grad_norm=1e6))
    audit_study(study, reproducible(monkeypatch, 1), repetitions=QUICK)
    assert max(seen) > 0.99 * FAR_ABOVE


def test_no_recording_is_read_and_nothing_is_left_behind(monkeypatch, tmp_path):
    import client.session as session_module

    def read(*_args, **_options):
        raise AssertionError("an audit read recordings")

    monkeypatch.setattr(session_module, "load_site_data", read)
    monkeypatch.setattr(client.audit_site, "_IN_MEMORY", tmp_path)
    audit_study(SMALL, reproducible(monkeypatch, 1), repetitions=QUICK)
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_was_not_charged_stops_the_audit(monkeypatch):
    import contextlib

    monkeypatch.setattr(client.contribute, "charge", lambda _s, _c: contextlib.nullcontext())
    with pytest.raises(PrivacyError, match="does not know"):
        audit_study(SMALL, reproducible(monkeypatch, 1), repetitions=QUICK)


def test_too_few_repetitions_are_refused(monkeypatch):
    with pytest.raises(ConfigError, match="raise --repetitions"):
        audit_study(SMALL, reproducible(monkeypatch, 1), repetitions=3)


def test_epsilon_of_mu_is_that_of_the_gaussian_mechanism():
    assert epsilon_of_mu(0.0, 1e-3) == 0.0
    assert epsilon_of_mu(math.inf, 1e-3) == math.inf
    epsilon = epsilon_of_mu(0.8, 1e-3)
    assert plan.gaussian_mu(epsilon, 1e-3) == pytest.approx(0.8, rel=1e-3)


# The command


def run(*words):
    return CliRunner().invoke(tacit.app, ["audit", "dp", *words])


def test_the_command_says_what_was_tested_measured_and_allowed():
    done = run("--repetitions", str(QUICK))
    text = re.sub(r"\s+", " ", re.sub("[│┃┏┓┗┛━┳┻╇╈┡┩└┘─┴┬├┤┼]", " ", done.stdout))
    for word in ("tested", "measured", "allowed", "verdict", "noise in shares", "by person", "δ"):
        assert word in text, word
    assert done.exit_code in (0, 3)


def test_the_document_for_machines_holds_nothing_else(monkeypatch):
    monkeypatch.setattr(client.audit_commands.os, "urandom", reproducible(monkeypatch, 9))
    done = run("demo", "privacy.noise_multiplier=1.0", "privacy.target_epsilon=1000", "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 0, done.stdout
    assert found["holds"] is True
    (one,) = found["audits"]
    assert (one["study"], one["mode"], one["unit"]) == ("demo", "local", "person")
    expected = {"name", "tested", "measured", "bound", "allowed", "holds", "verdict"}
    assert all(set(check) == expected for check in one["checks"])


def test_a_fault_ends_in_exit_code_3_and_words(monkeypatch):
    no_noise(monkeypatch)
    done = run("--repetitions", str(QUICK), "--json")
    assert done.exit_code == 3
    found = json.loads(done.stdout)
    assert found["holds"] is False
    local = next(one for one in found["audits"] if one["mode"] == "local")
    assert local["epsilon_lower"] is None or local["epsilon_lower"] > 1000
    verdicts = {check["name"]: check["verdict"] for check in local["checks"]}
    assert verdicts["noise"] == "there is less noise than was charged"
    assert verdicts["accounting"] == "holds"


def test_infinities_are_null_in_json(monkeypatch):
    report = audit_study(SMALL, reproducible(monkeypatch, 2), repetitions=QUICK)
    text = json.dumps(to_json([replace(report, epsilon_lower=math.inf)]), allow_nan=False)
    assert json.loads(text)["audits"][0]["epsilon_lower"] is None


def test_the_command_runs_as_a_program(tmp_path):
    words = [sys.executable, "-m", "tacit", "audit", "dp", "no-such-study"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "no-such-study" in done.stderr
