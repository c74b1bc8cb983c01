"""What the real sites do about each attack, and what happens when a check is taken out."""

import re

import numpy as np
import pytest

import client.steps
from common.secagg import checks, graph, site, states
from common.secagg.messages import Pair, decode, encode
from common.secagg.riding import CONFIRM_ADVERTISE, UNMASK_SHARE
from common.secagg.roster import Policy, Roster
from common.wire import Reply, Request
from simulations.attacks import tacit_attacks
from simulations.attacks.outcome import Found, nothing
from simulations.attacks.scene import OTHERS, SITES, VICTIM
from simulations.attacks.tacit_attacks import ATTACKS, attack_tacit, repeat_nearly
from simulations.attacks.tacit_side import coordinator

UNSIGNED = "coordinator: the advert of '{}' is not signed by it"
TOO_FEW = "1 site is left at {}; {} joins no sum of fewer than 3"
CANNOT = (
    "got '{}', but the state {} takes {}; what was answered or missed is not answered again: "
    "begin a new attempt with 'advertise'"
)
MASKED = CANNOT.format("unmask", "Masked", "'advertise' or 'mask' or 'confirm'")
FINISHED = ("Finished", "'advertise'")
UNCONFIRMED = "UNMASK: expected 4 confirmations of the list this site confirmed, got {}"
NOT_SIGNED = "coordinator: the upload of '{}' is not signed by it"
OTHER_MODEL = "coordinator: sent another model than the attempt is about"
CONFIRMED = (
    "this site already confirmed a 'train' sum on this very model, in another round or over other "
    "sites; a sum that broke off can be made again over the very same sites only"
)
OLD = "round 1 attempt 0 is not newer than round 1 attempt 0"


def all_of(sites, stage, error, reason):
    return {(name, stage, error, reason) for name in sites}


EXPECTED = {
    "key_swap": {(VICTIM, "share", "PeerMisbehaved", UNSIGNED.format("aspen"))},
    "cohort_of_one": {(VICTIM, "share", "TooFewSites", TOO_FEW.format("share", VICTIM))}
    | {(name, "confirm", "TooFewSites", TOO_FEW.format("confirm", name)) for name in SITES}
    | all_of(SITES, "unmask", "OutOfOrder", MASKED),
    "both_secrets": all_of(OTHERS, "confirm", "OutOfOrder", CANNOT.format("confirm", *FINISHED))
    | all_of(OTHERS, "unmask", "OutOfOrder", CANNOT.format("unmask", *FINISHED)),
    "replay": all_of(SITES, "unmask", "OutOfOrder", CANNOT.format("unmask", *FINISHED))
    | all_of(SITES, "advertise", "Replayed", OLD)
    | all_of(OTHERS, "confirm", "PrivacyError", CONFIRMED),
    "two_lists": all_of(("aspen", "birch", "cedar"), "unmask", "TooFewSites", UNCONFIRMED.format(3))
    | all_of(("elder", "hazel"), "unmask", "TooFewSites", UNCONFIRMED.format(2)),
    "different_models": {(VICTIM, "mask", "PeerMisbehaved", OTHER_MODEL)}
    | all_of(OTHERS, "confirm", "PeerMisbehaved", NOT_SIGNED.format(VICTIM))
    | {(VICTIM, "confirm", "PeerMisbehaved", NOT_SIGNED.format("aspen"))},
}
"""Attack -> (site, stage, error, reason) of every refusal in the sites' own logs."""


def test_every_attack_is_expected():
    assert set(EXPECTED) == set(ATTACKS)


@pytest.mark.parametrize("name", ATTACKS)
def test_the_sites_refuse_and_log_why_and_nothing_is_learnt(scene, name):
    found = attack_tacit(scene, name)
    logged = [(one.site, one.stage, one.error, one.reason) for one in found.said]
    assert set(logged) == EXPECTED[name]
    assert len(logged) == len(set(logged))
    assert found.answered == ()
    assert found.found.recovered == 0
    assert found.is_refused


class Joined:
    """An exchange that sends CONFIRM and UNMASK as halves of the joined stages."""

    def __init__(self, exchange):
        self.exchange = exchange

    def __call__(self, stage, requests):
        joined = {"confirm": CONFIRM_ADVERTISE, "unmask": UNMASK_SHARE}.get(stage)
        if joined is None:
            return self.exchange(stage, requests)
        asked = {
            name: Request(joined, {**one.fields, "body": encode(Pair(one.fields["body"], b""))})
            for name, one in requests.items()
        }
        return {
            name: one
            if one.refused
            else Reply({"body": decode(Pair, one.fields["body"], name).first})
            for name, one in self.exchange(joined, asked).items()
        }


@pytest.mark.parametrize("name", sorted(set(ATTACKS) - {"key_swap"}))
def test_joined_stages_are_no_way_round(scene, monkeypatch, name):
    """The deployed coordinator joins stages; a cheat in one half is refused for the same reason."""

    def joined(*args):
        at = coordinator(*args)
        at.exchange = Joined(at.exchange)
        return at

    monkeypatch.setattr(tacit_attacks, "coordinator", joined)
    found = attack_tacit(scene, name)
    assert {(one.site, one.stage, one.error, one.reason) for one in found.said} == EXPECTED[name]
    assert found.is_refused


def pass_by(monkeypatch, *names):
    for name in names:
        monkeypatch.setattr(checks, name, lambda *_args: None)


TAKEN_OUT = {
    "key_swap": (("adverts_are_signed",), {"cedar share"}),
    "replay": (("attempt_is_newer",), {f"{name} advertise" for name in SITES}),
    "two_lists": (("confirmations_suffice",), {f"{name} unmask" for name in SITES}),
    "different_models": (("model_is_mine",), {"cedar mask"}),
}


@pytest.mark.parametrize("name", TAKEN_OUT)
def test_without_its_check_an_attack_is_answered(scene, monkeypatch, name):
    out, answered = TAKEN_OUT[name]
    pass_by(monkeypatch, *out)
    found = attack_tacit(scene, name)
    assert answered <= set(found.answered)
    assert not found.is_refused


def test_without_both_floors_one_site_alone_is_opened(scene, monkeypatch):
    pass_by(monkeypatch, "enough")
    monkeypatch.setattr(client.steps, "_crowd", lambda *_args: None)
    monkeypatch.setattr(Policy, "quorum", lambda _self, _sites: 1)
    found = attack_tacit(scene, "cohort_of_one")
    assert "cedar unmask" in found.answered
    assert found.found.recovered == found.found.values == 187


def test_without_signatures_swapped_keys_open_the_vector(scene, monkeypatch):
    monkeypatch.setattr(Roster, "signed", lambda *_args: True)
    found = attack_tacit(scene, "key_swap")
    assert found.found.recovered == 187


def test_without_the_models_lock_a_repeated_round_gives_the_difference(scene, monkeypatch):
    pass_by(monkeypatch, "model_is_unlocked", "lock_model")
    found = attack_tacit(scene, "replay")
    assert found.found.recovered == 187
    assert not found.is_refused


def test_two_lists_would_do_if_fewer_shares_sufficed(scene, monkeypatch):
    """More than two thirds of the shares are needed, so no two lists can have enough of both."""
    pass_by(monkeypatch, "confirmations_suffice")
    monkeypatch.setattr(graph, "majority", lambda _sites: 2)
    found = attack_tacit(scene, "two_lists")
    assert found.found.recovered == 187


def test_sites_that_sign_twice_give_up_both_secrets(scene, monkeypatch):
    """Without the order of stages and its locks, the last state that held shares is used again."""
    confirm, kept = site.TABLE["confirm"], {}

    def once_more(member, state, request, given):
        return confirm.run(member, kept.setdefault(member.name, state), request, given)

    again = site.Step((states.Masked, states.Finished), once_more)
    monkeypatch.setitem(site.TABLE, "confirm", again)
    pass_by(monkeypatch, "lock_stage", "lock_model")
    found = attack_tacit(scene, "both_secrets")
    assert set(found.answered) == {f"{name} {s}" for name in OTHERS for s in ("confirm", "unmask")}
    assert found.found.recovered == 187


def test_an_attack_that_another_check_stops_is_still_refused(scene, monkeypatch):
    """Cohort of one: the protocol's own floor holds where the site's is taken out."""
    monkeypatch.setattr(client.steps, "_crowd", lambda *_args: None)
    found = attack_tacit(scene, "cohort_of_one")
    assert found.is_refused
    assert any(re.match("SHARE: expected at least 3 sites, got 1", s.reason) for s in found.said)


def test_nearly_the_same_model_is_another_model(scene):
    """Said in docs/threat-model.md under what is not protected: exact sums, asked for twice."""
    assert repeat_nearly(scene).recovered == 187


def test_what_is_compared_can_tell(scene):
    """The victim's own vector is found whole; one with a mask on it is no guess at all."""
    at = coordinator(scene, "control")
    truth_W = scene.truth(at.federation, at.context(1), scene.model)
    mask_W = np.random.default_rng(0).integers(0, 2**64, truth_W.size, np.uint64)
    assert at.found(at.context(2), [truth_W]) == Found(187, 187, pytest.approx(0, abs=1e-4))
    assert at.found(at.context(3), [truth_W + mask_W]) == nothing(187)
