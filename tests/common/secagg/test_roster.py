from dataclasses import replace

import pytest

from common.errors import ConfigError
from common.secagg.channel import Identity, key_pair, open_sealed, public_key, seal, suite, verify
from common.secagg.graph import CHEATING, majority, regular, size_for
from common.secagg.layout import layout_of
from common.secagg.roster import MemoryLocks, Policy, Roster


def keys(n):
    return {f"s{i:04}": i.to_bytes(32, "big") for i in range(n)}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"": bytes(32)}, "name of 1-64 bytes"),
        ({"x" * 65: bytes(32)}, "name of 1-64 bytes"),
        ({"a": bytes(31)}, "a key of 32"),
        ({"a": bytes(32), "b": bytes(32)}, "same key"),
    ],
)
def test_a_roster_that_cannot_be_is_refused(given, reason):
    with pytest.raises(ConfigError, match=reason):
        Roster(given)


def test_a_roster_does_not_depend_on_the_order_it_was_written_in():
    forth, back = keys(5), dict(reversed(keys(5).items()))
    assert Roster(forth).digest == Roster(back).digest
    assert Roster(forth).x("s0003") == Roster(back).x("s0003") == 4


def policy(**changes):
    layout = layout_of(5, {"w": (3,)}, 1.0)
    return replace(Policy(Roster(keys(5)), {"train": layout}), **changes)


def test_every_part_of_a_policy_is_in_its_id():
    wider = layout_of(5, {"w": (3,)}, 2.0)
    others = [
        policy(roster=Roster({**keys(4), "s9": bytes([9]) * 32})),
        policy(suite="mlkem768_x25519"),
        policy(min_sites=4),
        policy(clip_norm=1.0),
        policy(dp_floor="epsilon 8 per person"),
        policy(layouts={"train": wider}),
        policy(layouts={"evaluate": policy().layouts["train"]}),
    ]
    assert len({one.policy_id for one in (policy(), *others)}) == 1 + len(others)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"min_sites": 2}, "min_sites must be 3 to the 5"),
        ({"min_sites": 6}, "min_sites must be 3 to the 5"),
        ({"suite": "rot13"}, "unknown suite 'rot13'; known: mlkem768_x25519, x25519"),
        ({"layouts": {"train": layout_of(4, {}, 1.0)}}, "fewer sites than the roster"),
    ],
)
def test_a_policy_that_cannot_hold_is_refused(changes, reason):
    with pytest.raises(ConfigError, match=reason):
        policy(**changes)


def test_every_part_of_a_context_is_in_its_digest(table):
    context = table(4).context
    changes = {
        "policy_id": bytes(32),
        "run": "run-2",
        "round": 2,
        "attempt": 1,
        "task": "evaluate",
        "config_hash": bytes(32),
        "model_hash": bytes(32),
        "steps": 2,
    }
    others = [replace(context, **{name: value}) for name, value in changes.items()]
    assert len({one.digest() for one in (context, *others)}) == 1 + len(others)
    assert context.digest(1) != context.digest(0) != context.digest(0, bytes(32))


def test_two_majorities_share_an_honest_site():
    """2t > n + n_c for every n_c < n/3."""
    for n in range(3, 400):
        assert all(2 * majority(n) > n + n_c for n_c in range((n + 2) // 3))


def test_locks_lock_once():
    locks = MemoryLocks()
    assert not locks.locked(b"k")
    assert locks.lock(b"k")
    assert locks.locked(b"k")
    assert not locks.lock(b"k")


def test_the_graph_beyond_128_sites_is_regular_and_symmetric():
    names = tuple(keys(300))
    graph = regular(names, bytes(32))
    assert size_for(300) == (70, 49) == (len(graph.neighbours[names[0]]) - 1, graph.threshold(300))
    for name, around in graph.neighbours.items():
        assert name in around
        assert len(set(around)) == 71
        assert list(around) == sorted(around)
        assert all(name in graph.neighbours[other] for other in around)


def test_the_graph_is_drawn_from_its_seed():
    names = tuple(keys(200))
    one, same, other = (regular(names, bytes([i]) * 32).neighbours for i in (0, 0, 1))
    assert one == same
    assert one != other


@pytest.mark.parametrize(
    ("sites", "expected"), [(129, 300), (300, 300), (301, 1000), (9999, 10_000)]
)
def test_the_size_of_the_graph_is_the_next_row_up(sites, expected):
    assert size_for(sites) == CHEATING[expected]


def test_a_sum_of_more_sites_than_the_table_knows_is_refused():
    with pytest.raises(ConfigError, match="at most 10000 sites"):
        size_for(10_001)


def test_a_policy_takes_the_complete_graph_up_to_128_sites():
    for n, rule in ((128, "complete"), (129, "regular")):
        made = Policy(Roster(keys(n)), {"train": layout_of(n, {}, 1.0)})
        assert made.graph.rule.startswith(rule)


def test_keys_and_channels_are_bound_to_purpose_context_and_info():
    for kind in (suite("x25519"), suite("mlkem768_x25519")):
        pair = key_pair(kind, bytes(32), "channel", b"ctx")
        assert key_pair(kind, bytes(32), "channel", b"ctx").public == pair.public
        assert key_pair(kind, bytes(32), "mask", b"ctx").public != pair.public
        assert key_pair(kind, bytes(32), "channel", b"other").public != pair.public
        sealed = seal(kind, public_key(kind, pair.public), b"info", b"secret")
        assert len(sealed) == len(b"secret") + kind.overhead_bytes
        assert open_sealed(kind, pair.private, b"info", sealed) == b"secret"
        for key, info, ciphertext in (
            (pair.private, b"other", sealed),
            (pair.private, b"info", sealed[:-1] + bytes([sealed[-1] ^ 1])),
            (pair.private, b"info", sealed[:40]),
            (key_pair(kind, bytes([1]) * 32, "channel").private, b"info", sealed),
        ):
            with pytest.raises(Exception, match="does not open"):
                open_sealed(kind, key, info, ciphertext)


@pytest.mark.parametrize("raw", [b"", bytes(31), bytes(1216)])
def test_what_is_no_key_is_refused(raw):
    with pytest.raises(Exception, match="key"):
        public_key(suite("x25519"), raw)


def test_a_key_of_low_order_is_refused_when_it_is_used():
    kind = suite("x25519")
    with pytest.raises(Exception, match="no secret can be agreed"):
        seal(kind, public_key(kind, bytes(32)), b"", b"secret")


def test_a_signature_is_bound_to_its_purpose_and_parts():
    one = Identity("a", bytes(32))
    signature = one.sign("advert", b"x", 1)
    assert verify(one.public_key, signature, "advert", b"x", 1)
    assert not verify(one.public_key, signature, "dealing", b"x", 1)
    assert not verify(one.public_key, signature, "advert", b"x", 2)
    assert not verify(one.public_key, bytes(64), "advert", b"x", 1)
    assert "private" not in repr(one)
