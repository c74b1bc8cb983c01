"""Any message of a round may arrive changed: the sum is exact, or the round aborts with names."""

import hashlib
import random
from dataclasses import replace

import pytest

from common.errors import TacitError
from common.secagg.messages import FORMS, MAGIC
from common.secagg.riding import JOINED
from common.secagg.round import play_steady

STAGES = ("advertise", "share", "mask", "confirm", "unmask")


def bit_flip(draw, raw, others):
    out = bytearray(raw)
    for _ in range(draw.choice((1, 1, 1, 8))):
        out[draw.randrange(len(out))] ^= 1 << draw.randrange(8)
    return bytes(out)


def truncation(draw, raw, others):
    return raw[: draw.randrange(len(raw))]


def extension(draw, raw, others):
    return raw + draw.randbytes(draw.randrange(1, 40))


def huge_length(draw, raw, others):
    at = draw.randrange(len(raw))
    return raw[:at] + draw.choice((b"\xff", b"\x7f", b"\x00")) * 4 + raw[at + 4 :]


def wrong_type(draw, raw, others):
    return MAGIC + bytes([draw.randrange(len(FORMS) + 2)]) + raw[5:]


def swapped_site(draw, raw, others):
    """Another site's message of the same stage; or its name in this one."""
    if draw.random() < 0.5:
        return draw.choice(others)
    one, two = draw.sample([b"site-%02d" % i for i in range(5)], 2)
    return raw.replace(one, two)


def doubled(draw, raw, others):
    at = draw.randrange(len(raw))
    return raw[:at] + raw[at // 2 :]


def noise(draw, raw, others):
    return draw.randbytes(draw.choice((0, 1, 5, len(raw))))


MUTATIONS = (
    bit_flip,
    truncation,
    extension,
    huge_length,
    wrong_type,
    swapped_site,
    doubled,
    noise,
)


class Mutating:
    """An exchange that changes one message, or a few, of one stage in one direction."""

    def __init__(self, sites, draw, stages=STAGES):
        self.sites, self.draw = sites, draw
        self.stage = draw.choice(stages)
        self.requests = draw.random() < 0.5
        self.mutate = draw.choice(MUTATIONS)
        self.victims = draw.choice((1, 1, 1, 2))
        self.changed = 0

    def __call__(self, stage, messages):
        if stage == self.stage and self.requests:
            messages = self.change(messages)
        replies = self.sites(stage, messages)
        if stage == self.stage and not self.requests:
            replies = self.change(replies)
        return replies

    def change(self, messages):
        out, others = dict(messages), list(messages.values())
        for site in self.draw.sample(sorted(out), min(self.victims, len(out))):
            new = self.mutate(self.draw, out[site], others)
            self.changed += new != out[site]
            out[site] = new
        return out


def run(table, count, seed):
    """Play that many rounds with a mutation; return how many gave a sum and how many aborted."""
    draw = random.Random(seed)
    exact = aborted = 0
    for i in range(count):
        suite = "mlkem768_x25519" if i % 10 == 9 else "x25519"
        five = table(draw.choice((4, 5)), suite, seed=f"{seed}/{i}")
        exchange = Mutating(five.sites(), draw)
        try:
            outcome = five.play(exchange)
        except TacitError:
            aborted += 1
            continue
        assert (outcome.words_W == five.plain_sum(outcome.contributors)).all()
        exact += 1
    return exact, aborted


def run_steady(table, count, seed):
    """The same over three rounds whose keys ride, with every message of a joined stage at stake."""
    draw = random.Random(seed)
    exact = aborted = 0
    for i in range(count):
        five = table(draw.choice((4, 5)), seed=f"{seed}/{i}")
        hashes = [hashlib.sha256(b"model %d" % n).digest() for n in range(3)]
        contexts = [
            replace(five.context, round=1 + n, model_hash=one) for n, one in enumerate(hashes)
        ]
        sites = five.sites()
        sites.models = {1 + n: one for n, one in enumerate(hashes)}
        exchange = Mutating(sites, draw, JOINED)
        try:
            for outcome in play_steady(five.policy, contexts, exchange):
                assert (outcome.words_W == five.plain_sum(outcome.contributors)).all()
        except TacitError:
            aborted += 1
            continue
        exact += 1
    return exact, aborted


def test_a_changed_message_of_a_joined_stage_ends_in_exact_sums_or_a_named_abort(table):
    exact, aborted = run_steady(table, 60, "few that ride")
    assert exact > 10
    assert aborted > 2


def test_a_changed_message_ends_in_the_exact_sum_or_a_named_abort(table):
    exact, aborted = run(table, 200, "few")
    assert exact > 40
    assert aborted > 10


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_changed_messages(table):
    exact, aborted = run(table, 10_000, "many")
    assert exact + aborted == 10_000
    assert min(exact, aborted) > 500


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_thousand_changed_messages_of_joined_stages(table):
    exact, aborted = run_steady(table, 2_000, "many that ride")
    assert exact + aborted == 2_000
    assert min(exact, aborted) > 100
