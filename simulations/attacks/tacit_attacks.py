"""Each attack on this project: played as far as the sites let it, and a little further."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import numpy as np

from common.errors import ProtocolError
from common.keys import new_identity
from common.privacy.ledger.chain import Head
from common.secagg import coordinator as co
from common.secagg.masks import Words
from common.secagg.messages import (
    Confirmation,
    ConfirmRequest,
    UnmaskRequest,
    Upload,
    decode,
    encode,
)
from common.secagg.progress import Keyed, Masking, Requests, Unmasking
from common.secagg.recovery import Step
from common.secagg.roster import Context, Member, MemoryLocks, NoNotes, Roster
from common.secagg.round import Sites, play, sum_up
from common.witness import note_of
from simulations.attacks.loot import stripped
from simulations.attacks.outcome import Found, Observed, closest
from simulations.attacks.scene import OTHERS, SITES, VICTIM, Scene
from simulations.attacks.tacit_side import TASK, Coordinator, bent, coordinator


class _Pretended(NoNotes):
    """Notes of a site that is none: the head of a ledger that nobody keeps."""

    def mine(self) -> bytes:
        """Return a head that is later than any."""
        return note_of(Head(1 << 40, "ff" * 32))


def key_swap(at: Coordinator) -> Found:
    """The coordinator plays all other sites, with keys of its own."""
    context = replace(at.context(), model_hash=at.hashed())
    own = {peer: new_identity(peer) for peer in OTHERS}
    keys = {peer: identity.public_key for peer, identity in own.items()}
    posing = bent(at.policy, roster=Roster({**keys, VICTIM: at.policy.roster[VICTIM]}))
    members = {p: Member(one, posing, MemoryLocks(), _Pretended()) for p, one in own.items()}
    zeros = np.zeros(at.policy.layouts[TASK].words, np.uint64)
    fakes = Sites(members, dict.fromkeys(OTHERS, zeros), dict.fromkeys(OTHERS, os.urandom), context)

    def exchange(stage: str, requests: Requests) -> Requests:
        send = at.ask if stage == "advertise" else at.cheat
        to_victim = {VICTIM: requests.pop(VICTIM)} if VICTIM in requests else {}
        return {**fakes(stage, requests), **send(stage, to_victim)}

    outcome = play(posing, context, exchange)
    alone = [outcome.words_W] if VICTIM in outcome.contributors else []
    return at.found(context, alone)


def cohort_of_one(at: Coordinator) -> Found:
    """Only the victim is invited; in the next round all are, and only the victim is kept."""
    return closest([_invited_alone(at), _kept_alone(at)])


def _invited_alone(at: Coordinator) -> Found:
    context, guesses = at.context(1), list[Words]()
    with suppress(ProtocolError):
        opened, requests = co.open_round(bent(at.policy, min_sites=1), context, (VICTIM,))
        adverted, requests = co.advertised(opened, at.ask("advertise", requests))
        keyed = co.shared(adverted, at.cheat("share", requests))
        guesses = [sum_up(keyed, 0, at.hashed(), at.cheat).words_W]
    return at.found(context, guesses)


def _kept_alone(at: Coordinator) -> Found:
    context = at.context(2)
    step, uploads = _masked(at, at.keyed(context))
    if VICTIM not in uploads:
        return at.found(context, [])
    confirm = _confirm(step, {VICTIM: uploads[VICTIM]})
    given = at.cheat("confirm", dict.fromkeys(SITES, confirm))
    at.cheat("unmask", dict.fromkeys(SITES, _unmask(step, given)))
    return _stripped(at, context, step, uploads)


def both_secrets(at: Coordinator) -> Found:
    """Shares of one secret come with the sum; a second list then asks for those of the other."""
    context = at.context()
    step, uploads = _masked(at, at.keyed(context))
    given = at.ask("confirm", dict.fromkeys(SITES, _confirm(step, uploads)))
    at.ask("unmask", dict.fromkeys(SITES, _unmask(step, given)))
    without = {site: upload for site, upload in uploads.items() if site != VICTIM}
    again = at.cheat("confirm", dict.fromkeys(OTHERS, _confirm(step, without)))
    at.cheat("unmask", dict.fromkeys(OTHERS, _unmask(step, again or given)))
    return _stripped(at, context, step, uploads)


def replay(at: Coordinator) -> Found:
    """After a whole round: UNMASK again, the round again, and once more without the victim.

    MASK of that last one may be answered, for a round that broke off is made again; CONFIRM sees
    that the sites are others.
    """
    context = at.context()
    step, uploads = _masked(at, at.keyed(context))
    given = at.ask("confirm", dict.fromkeys(SITES, _confirm(step, uploads)))
    unmask = dict.fromkeys(SITES, _unmask(step, given))
    whole_W = _opened(at, step, uploads, at.ask("unmask", unmask))
    at.cheat("unmask", unmask)
    _, requests = co.open_round(at.policy, context, SITES)
    at.cheat("advertise", requests)
    differences = list[Words]()
    with suppress(ProtocolError):
        rest, requests = co.masking(at.keyed(context.retry(), OTHERS), 0, at.hashed())
        differences = [whole_W - _finished(at, rest, at.ask("mask", requests))]
    return at.found(context, differences, len(SITES))


def near_model(at: Coordinator) -> Found:
    """A whole round; then one without the victim, on a model changed in its last digits.

    No lock stops that, for it is another model: what stands against it is differential privacy.
    """
    whole = sum_up(at.keyed(at.context(1)), 0, at.hashed(), at.ask)
    rest = at.keyed(at.context(2), OTHERS)
    near = {name: np.nextafter(value, np.float32(1)) for name, value in at.scene.model.items()}
    at.models = dict.fromkeys(OTHERS, near)
    again = sum_up(rest, 0, at.hashed(OTHERS[0]), at.ask)
    return at.found(at.context(3), [whole.words_W - again.words_W], len(SITES))


def two_lists(at: Coordinator) -> Found:
    """The victim and two sites are told that it contributed, the other two that it did not."""
    context = at.context()
    step, uploads = _masked(at, at.keyed(context))
    without = {site: upload for site, upload in uploads.items() if site != VICTIM}
    there, gone = (VICTIM, *OTHERS[:2]), OTHERS[2:]
    lists = dict.fromkeys(there, _confirm(step, uploads))
    lists |= dict.fromkeys(gone, _confirm(step, without))
    given = at.ask("confirm", lists)
    others = {site: reply for site, reply in given.items() if site != VICTIM}
    requests = dict.fromkeys(there, _unmask(step, given))
    at.cheat("unmask", requests | dict.fromkeys(gone, _unmask(step, others)))
    return _stripped(at, context, step, uploads)


def different_models(at: Coordinator) -> Found:
    """Everybody but the victim gets a model that cannot learn: first unsaid, then announced."""
    at.models = dict.fromkeys(OTHERS, at.scene.dead_model)
    return closest([_unsaid(at), _announced(at)])


def _unsaid(at: Coordinator) -> Found:
    context, sums = at.context(1), list[Words]()
    masking, requests = co.masking(at.keyed(context), 0, at.hashed(OTHERS[0]))
    to_victim = {VICTIM: requests.pop(VICTIM)}
    uploads = at.ask("mask", requests) | at.cheat("mask", to_victim)
    with suppress(ProtocolError):
        sums = [_finished(at, masking, uploads)] if VICTIM in uploads else []
    return at.found(context, sums, len(SITES))


def _announced(at: Coordinator) -> Found:
    """Each is told the model that it gets; then each is asked to confirm all vectors."""
    context = at.context(2)
    keyed = at.keyed(context)
    common, requests = co.masking(keyed, 0, at.hashed(OTHERS[0]))
    special, to_victim = co.masking(keyed, 0, at.hashed())
    uploads = at.ask("mask", requests | {VICTIM: to_victim[VICTIM]})
    steps = dict.fromkeys(OTHERS, common.step) | {VICTIM: special.step}
    given = at.cheat("confirm", {site: _confirm(step, uploads) for site, step in steps.items()})
    at.cheat("unmask", {site: _unmask(steps[site], given) for site in given})
    return _stripped(at, context, special.step, uploads)


def _masked(at: Coordinator, keyed: Keyed) -> tuple[Step, Requests]:
    """MASK by the book; the sum that is being made, and every upload."""
    masking, requests = co.masking(keyed, 0, at.hashed())
    return masking.step, at.ask("mask", requests)


def _confirm(step: Step, uploads: Requests) -> bytes:
    """A list of contributors, as CONFIRM says it."""
    found = [decode(Upload, uploads[site], site).uploaded for site in sorted(uploads)]
    return encode(ConfirmRequest(step.ctx, tuple(found)))


def _unmask(step: Step, given: Requests) -> bytes:
    """The confirmations that came, as UNMASK says them."""
    found = [decode(Confirmation, given[site], site) for site in sorted(given)]
    return encode(UnmaskRequest(step.ctx, tuple(found)))


def _opened(at: Coordinator, step: Step, uploads: Requests, revealed: Requests) -> Words:
    """The sum of all uploads, by the book."""
    confirming, _ = co.masked(Masking(step, ()), uploads)
    everybody = tuple(Confirmation(site, b"") for site in SITES)
    state = Unmasking(step, confirming.uploads, everybody, ())
    return co.unmasked(state, revealed).words_W


def _finished(at: Coordinator, masking: Masking, uploads: Requests) -> Words:
    """The sum of these uploads, if the sites confirm and unmask it."""
    confirming, requests = co.masked(masking, uploads)
    unmasking, requests = co.confirmed(confirming, at.cheat("confirm", requests))
    return co.unmasked(unmasking, at.cheat("unmask", requests)).words_W


def _stripped(at: Coordinator, context: Context, step: Step, uploads: Requests) -> Found:
    """What all shares that came take off the victim's vector."""
    return at.found(context, [stripped(step, VICTIM, uploads[VICTIM], at.reveals)])


ATTACKS: dict[str, Callable[[Coordinator], Found]] = {
    "key_swap": key_swap,
    "cohort_of_one": cohort_of_one,
    "both_secrets": both_secrets,
    "replay": replay,
    "two_lists": two_lists,
    "different_models": different_models,
}


def attack_tacit(scene: Scene, name: str) -> Observed:
    """Play one attack on this project's sites; what came of it, and what each site logged."""
    at = coordinator(scene, name)
    found = ATTACKS[name](at)
    return Observed(found, tuple(at.answered), tuple(at.said))


def repeat_nearly(scene: Scene) -> Found:
    """What comes out of this project's sites if a round is repeated on nearly the same model."""
    return near_model(coordinator(scene, "near_model"))
