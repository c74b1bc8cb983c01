import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ProtocolError
from common.secagg import shamir

scalars = st.integers(0, shamir.ORDER - 1)


@given(scalars, st.data())
def test_any_threshold_many_shares_recover_the_secret(secret, data):
    n = data.draw(st.integers(1, 12))
    threshold = data.draw(st.integers(1, n))
    xs = data.draw(st.lists(st.integers(1, 10**6), min_size=n, max_size=n, unique=True))
    shares = shamir.split(secret, threshold, xs, os.urandom)
    some = data.draw(st.permutations(range(n)))[:threshold]
    assert shamir.recover({xs[i]: shares[i] for i in some}) == secret


@given(scalars, scalars)
def test_fewer_shares_fit_every_secret(one, other):
    """Guarantee: fewer than `threshold` shares say nothing about the secret."""
    xs = [1, 2, 3]
    shares = shamir.split(one, 3, xs, os.urandom)
    two = {1: shares[0], 2: shares[1]}
    # a share at 3 exists that makes these two come from the other secret
    c1, c2, c3 = shamir.lagrange((1, 2, 3))
    third = (other - c1 * two[1] - c2 * two[2]) * pow(c3, -1, shamir.ORDER) % shamir.ORDER
    assert shamir.recover(two | {3: third}) == other


def test_too_few_shares_give_something_else():
    shares = shamir.split(42, 3, [1, 2, 3, 4], os.urandom)
    for i, j in itertools.combinations(range(4), 2):
        assert shamir.recover({i + 1: shares[i], j + 1: shares[j]}) != 42


@pytest.mark.parametrize("threshold", [0, 4])
def test_a_threshold_that_cannot_be_met_is_refused(threshold):
    with pytest.raises(ProtocolError, match="cannot have a threshold"):
        shamir.split(1, threshold, [1, 2, 3], os.urandom)


@pytest.mark.parametrize("raw", [b"", bytes(31), bytes(33), b"\xff" * 32])
def test_what_is_no_scalar_is_refused(raw):
    with pytest.raises(ProtocolError, match="below the order"):
        shamir.to_scalar(raw)


@given(scalars)
def test_a_scalar_survives_its_bytes(secret):
    assert shamir.to_scalar(shamir.to_bytes(secret)) == secret


def test_the_largest_entropy_is_still_a_scalar():
    assert shamir.random_scalar(lambda size: b"\xff" * size) < shamir.ORDER
