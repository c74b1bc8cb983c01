"""A recorded round of both suites still plays as it was recorded, and its bad variants are refused.

What a site answers is compared byte for byte, but for SHARE, whose ciphertexts are drawn
anew by HPKE; there the commitments and the state are compared.
"""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common import errors
from common.secagg import coordinator as co
from common.secagg import states
from common.secagg.channel import Identity
from common.secagg.layout import layout_of
from common.secagg.messages import Dealing, decode
from common.secagg.roster import Context, Member, MemoryLocks, Policy, Roster
from common.secagg.site import Given, advance
from common.witness import why_not

VECTORS = Path(__file__).parents[2] / "vectors/secagg"
ROUNDS = sorted(path.stem for path in VECTORS.glob("round_*.json"))
BAD = sorted(path.stem for path in VECTORS.glob("bad_*.json"))
STAGES = ("advertise", "share", "mask", "confirm", "unmask")


def load(name):
    return json.loads((VECTORS / f"{name}.json").read_text())


class RecordedNotes:
    """What a site published and had kept when the round was recorded."""

    def __init__(self, own, kept):
        self.own = own
        self.of_peers = kept

    def mine(self):
        return self.own

    def kept(self):
        return self.of_peers

    def follows(self, before, after):
        return why_not(before, after)

    def keep(self, notes):
        self.of_peers = notes


class Recorded:
    """A recorded round, and the sites that played it."""

    def __init__(self, name):
        self.raw = load(name)
        self.identities = {
            site: Identity(site, bytes.fromhex(key))
            for site, key in self.raw["private_keys"].items()
        }
        layout = self.raw["layout"]
        shapes = {k: tuple(v) for k, v in layout["shapes"].items()}
        exacts = {k: tuple(v) for k, v in layout["exacts"].items()}
        self.layout = layout_of(layout["sites"], shapes, layout["scale"], exacts=exacts)
        roster = Roster({site: one.public_key for site, one in self.identities.items()})
        layouts = dict.fromkeys(self.raw["tasks"], self.layout)
        self.policy = Policy(roster, layouts, self.raw["suite"], self.raw["min_sites"])
        hashes = ("policy_id", "config_hash", "model_hash")
        fields = self.raw["context"]
        self.context = Context(
            **{k: bytes.fromhex(v) if k in hashes else v for k, v in fields.items()}
        )

    @property
    def kept(self):
        """What every site, and the coordinator, had kept before."""
        return {site: bytes.fromhex(note) for site, note in self.raw["kept_notes"].items()}

    def follows(self, site, note):
        return why_not(self.kept.get(site), note)

    def part(self, stage, site, kind):
        return base64.b64decode(self.raw["stages"][stage][site][kind])

    def before(self, stage, site):
        """The state in which a site takes a stage."""
        at = STAGES.index(stage)
        return states.load(self.part(STAGES[at - 1], site, "state")) if at else None

    def answer(self, stage, site, request):
        """What the site's code makes of a request in the recorded state."""
        entropy = iter([base64.b64decode(e) for e in self.raw["stages"][stage][site]["entropy"]])
        vector = np.frombuffer(base64.b64decode(self.raw["vectors"][site]), "<u8")
        given = Given(
            lambda size: next(entropy), self.context.config_hash, self.context.model_hash, vector
        )
        notes = RecordedNotes(bytes.fromhex(self.raw["notes"][site]), self.kept)
        member = Member(self.identities[site], self.policy, MemoryLocks(), notes)
        return advance(member, stage, self.before(stage, site), request, given)

    def replies(self, stage):
        return {site: self.part(stage, site, "reply") for site in self.raw["stages"][stage]}

    def play(self, replace: Callable[[str, dict], dict] = lambda stage, replies: replies):
        """Let the coordinator play on the recorded replies; yield its requests and the sum."""
        names = tuple(self.policy.roster)
        state, requests = co.open_round(self.policy, self.context, names, self.follows)
        yield "advertise", requests
        for stage in STAGES:
            replies = replace(stage, self.replies(stage))
            if stage == "advertise":
                state, requests = co.advertised(state, replies)
            elif stage == "share":
                state, requests = co.masking(co.shared(state, replies))
            elif stage == "mask":
                state, requests = co.masked(state, replies)
            elif stage == "confirm":
                state, requests = co.confirmed(state, replies)
            else:
                yield "sum", co.unmasked(state, replies)
                return
            yield STAGES[STAGES.index(stage) + 1], requests


def test_there_are_vectors():
    assert ROUNDS == ["round_mlkem768_x25519", "round_x25519"]
    assert len(BAD) >= 20


@pytest.mark.parametrize("name", ROUNDS)
def test_hashes_are_as_recorded(name):
    vector = Recorded(name)
    assert vector.policy.policy_id.hex() == vector.raw["policy_id"]
    assert vector.context.digest().hex() == vector.raw["ctx"]


@pytest.mark.parametrize("name", ROUNDS)
@pytest.mark.parametrize("stage", STAGES)
def test_each_site_answers_as_recorded(name, stage):
    vector = Recorded(name)
    for site in vector.raw["stages"][stage]:
        state, reply = vector.answer(stage, site, vector.part(stage, site, "request"))
        recorded = states.load(vector.part(stage, site, "state"))
        if stage == "share":
            old = decode(Dealing, vector.part(stage, site, "reply"), site)
            new = decode(Dealing, reply, site)
            assert [i.commitments for i in new.items] == [i.commitments for i in old.items]
            assert (state.own, state.r0, state.cohort) == (
                recorded.own,
                recorded.r0,
                recorded.cohort,
            )
        else:
            assert reply == vector.part(stage, site, "reply")
            assert state == recorded


@pytest.mark.parametrize("name", ROUNDS)
def test_the_coordinator_asks_and_sums_as_recorded(name):
    vector = Recorded(name)
    for stage, made in vector.play():
        if stage == "sum":
            assert made.words_W.tobytes() == base64.b64decode(vector.raw["sum"])
            assert list(made.contributors) == vector.raw["contributors"]
            assert made.blamed == ()
        else:
            for site in vector.raw["stages"][stage]:
                assert made[site] == vector.part(stage, site, "request")
    words = sum(
        np.frombuffer(base64.b64decode(vector.raw["vectors"][site]), "<u8")
        for site in vector.raw["contributors"]
    )
    assert words.tobytes() == base64.b64decode(vector.raw["sum"])


@pytest.mark.parametrize("name", [name for name in BAD if "request" in load(name)])
def test_a_bad_request_is_refused_by_the_site(name):
    bad = load(name)
    vector = Recorded(bad["base"])
    with pytest.raises(getattr(errors, bad["error"])) as error:
        vector.answer(bad["stage"], bad["site"], base64.b64decode(bad["request"]))
    assert bad["reason"] in str(error.value)


@pytest.mark.parametrize("name", [name for name in BAD if "reply" in load(name)])
def test_a_bad_reply_is_blamed_on_its_sender(name):
    """The round stops, or ends in the exact sum; either way the sender is named."""
    bad = load(name)
    vector = Recorded(bad["base"])

    def spoil(stage, replies):
        wrong = {bad["site"]: base64.b64decode(bad["reply"])} if stage == bad["stage"] else {}
        return replies | wrong

    with pytest.raises((errors.TooFewSites, errors.PeerMisbehaved)) as error:
        list(vector.play(spoil))
    # four sites and t = 3: with site-03 lost at MASK, one more is one too many
    assert f"{bad['site']}: " in str(error.value)
    assert bad["reason"] in str(error.value)
