import copy
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from common.errors import PrivacyError
from common.privacy.mechanism import (
    GRID_LOG2,
    CryptoStream,
    add_noise,
    grid_unit,
    noise_deviation,
    put,
)
from common.secagg.masks import SEGMENT_WORDS

KEY = bytes(range(32))


def stream(number=0):
    return CryptoStream(number.to_bytes(32, "big"))


def test_words_are_aes_256_in_counter_mode():
    """SP 800-38A: each draw is the encryption of the counter from nonce ‖ 2, nonces 0, 1, 2, …"""
    one = CryptoStream(KEY)
    cipher = Cipher(algorithms.AES(KEY), modes.ECB()).encryptor()
    for nonce, size in enumerate((64, 1, 2)):
        found = one.words(size).tobytes()
        counters = (nonce.to_bytes(12, "big") + i.to_bytes(4, "big") for i in range(2, 34))
        assert found == b"".join(map(cipher.update, counters))[: 8 * size]


def test_long_draws_go_over_several_nonces():
    """A draw longer than a segment is the segments one after the other."""
    long, short = stream(), stream()
    expected = np.concatenate([short.words(SEGMENT_WORDS), short.words(SEGMENT_WORDS)])
    assert (long.words(2 * SEGMENT_WORDS) == expected).all()


def test_no_draw_repeats_or_changes_one_before():
    one = stream()
    first = one.words(1000)
    kept = first.copy()
    draws = [first, one.words(1000), one.words(3)]
    assert (first == kept).all()
    assert len(set(np.concatenate(draws).tolist())) == 2003


def test_known_values():
    """Golden: a change of these changes every simulated run."""
    source = CryptoStream(KEY)
    assert source.words(2).tolist() == [13655807654754630670, 11065674241917167624]
    assert source.choose(10, 3).tolist() == [0, 5, 7]


def test_a_key_has_32_bytes():
    with pytest.raises(PrivacyError, match="32 bytes"):
        CryptoStream(bytes(16))


@pytest.mark.parametrize("copying", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_stream_cannot_be_copied(copying):
    with pytest.raises(PrivacyError, match="copied"):
        copying(stream())


def test_a_stream_cannot_cross_a_fork():
    script = (
        "import os\n"
        "from common.privacy.mechanism import CryptoStream\n"
        "from common.errors import PrivacyError\n"
        "stream = CryptoStream(bytes(32))\n"
        "if os.fork() == 0:\n"
        "    try:\n        stream.words(1)\n"
        "    except PrivacyError:\n        os._exit(7)\n"
        "    os._exit(0)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": "."}, check=False
    )
    assert found.returncode == 7


def test_noise_is_normal():
    noise = stream().gaussian(200_001, 2.0)
    assert noise.dtype == np.float64
    assert len(noise) == 200_001
    assert stats.kstest(noise / 2, "norm").pvalue > 1e-4
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.015


@given(st.integers(0, 300), st.integers(0, 100))
def test_noise_comes_in_any_size(size, key):
    assert stream(key).gaussian(size).shape == (size,)


def test_uniform_values_are_uniform():
    values = stream().uniform(100_000)
    assert 0 <= values.min() < values.max() < 1
    assert stats.kstest(values, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("rate", [0.01, 0.25, 0.9])
def test_units_join_by_themselves_with_the_declared_rate(rate):
    mask = stream().poisson_mask(100_000, rate)
    assert stats.binomtest(int(mask.sum()), 100_000, rate).pvalue > 1e-4
    both = (mask[:-1] & mask[1:]).sum()
    assert stats.binomtest(int(both), 99_999, rate**2).pvalue > 1e-4


def test_everybody_joins_at_rate_one_and_nobody_at_rate_zero():
    assert stream().poisson_mask(1000, 1.0).all()
    assert not stream().poisson_mask(1000, 0.0).any()


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_out_of_range_is_refused(rate):
    with pytest.raises(PrivacyError, match="rate"):
        stream().poisson_mask(10, rate)


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 1000))
def test_choose_takes_different_positions_in_order(size, most, key):
    chosen = stream(key).choose(size, most).tolist()
    assert len(chosen) == min(size, most)
    assert chosen == sorted(set(chosen))
    assert all(0 <= position < size for position in chosen)


def test_every_position_is_chosen_equally_often():
    source = stream()
    counts = np.bincount(np.concatenate([source.choose(10, 3) for _ in range(4000)]), minlength=10)
    assert stats.chisquare(counts).pvalue > 1e-4


def noised(values, sigma=1.5, norm=2.0, number=0):
    used_up = {name: value.clone() for name, value in values.items()}
    return add_noise(stream(number), used_up, noise_multiplier=sigma, max_grad_norm=norm)


def test_the_noise_has_the_declared_deviation_and_leaves_the_sum_in_the_middle():
    values = {"a": torch.full((300, 300), 3.0), "b": torch.full((10_000,), -7.0)}
    found = noised(values)
    deviation = noise_deviation(1.5, 2.0, 100_000)
    residue = torch.cat([(found[k] - values[k]).flatten() for k in values]).numpy()
    assert stats.kstest(residue / deviation, "norm").pvalue > 1e-4
    assert 3.0 < deviation < 3.01


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=40), st.integers(0, 99))
def test_a_noised_sum_lies_on_the_grid_whatever_the_data(values, number):
    """The result is a whole number of grid units in every value."""
    found = noised({"a": torch.tensor(values)}, number=number)["a"].double()
    units = found / grid_unit(1.5, 2.0)
    assert torch.equal(units, units.round())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(st.integers(0, 99))
def test_the_compiled_sum_is_the_loop_s_own_to_the_bit(dtype, number):
    noise = stream(number).gaussian(200)
    values = (noise[100:] * 50).astype(dtype)
    found, expected = np.empty((2, 100), np.float32)
    given_ = (values, noise[:100], dtype(2.0**18), 1e6, 2.0**-18 / 3)
    assert put.machine(*given_, found)
    assert put.python(*given_, expected)
    assert (found == expected).all()


def test_two_sums_within_a_grid_unit_give_results_from_the_same_grid():
    grid = grid_unit(1.5, 2.0)
    assert 1.5 * 2.0 * 2.0**-GRID_LOG2 / 2 < grid <= 1.5 * 2.0 * 2.0**-GRID_LOG2
    one = noised({"a": torch.tensor([0.1])})["a"]
    other = noised({"a": torch.tensor([0.1 + 0.3 * grid])})["a"]
    assert abs(float(one - other)) in (0.0, grid)


def test_shapes_and_names_are_kept_whatever_the_precision():
    values = {"w": torch.zeros(3, 4), "none": torch.zeros(0), "s": torch.zeros(())}
    values |= {"wide": torch.zeros(2, 5, dtype=torch.float64), "turned": torch.zeros(4, 3).t()}
    found = noised(values)
    assert {name: t.shape for name, t in found.items()} == {n: t.shape for n, t in values.items()}
    assert all(t.dtype == torch.float32 for t in found.values())
    assert all(t.all() for t in found.values())


@given(st.floats(-100, 100, width=32), st.floats(0.1, 1e4))
def test_the_divisor_sees_whole_grid_units_only(value, divisor):
    given_sum = {"a": torch.full((50,), value)}
    whole = noised(given_sum)["a"].double()
    found = add_noise(
        stream(), given_sum, noise_multiplier=1.5, max_grad_norm=2.0, divisor=divisor
    )["a"]
    assert torch.allclose(found.double() * divisor, whole, rtol=2**-22, atol=0)


@pytest.mark.parametrize("divisor", [0.0, -1.0, float("nan")])
def test_a_divisor_that_is_not_positive_is_refused(divisor):
    zeros = {"a": torch.zeros(1)}
    with pytest.raises(PrivacyError, match="divisor > 0"):
        add_noise(stream(), zeros, noise_multiplier=1.0, max_grad_norm=1.0, divisor=divisor)


def test_nothing_is_left_of_a_sum_in_single_precision():
    values = {"w": torch.zeros(40, 1000), "v": torch.zeros(7)}
    found = add_noise(stream(), values, noise_multiplier=1.5, max_grad_norm=2.0)
    assert all(found[name].data_ptr() == value.data_ptr() for name, value in values.items())
    assert all(bool(value.all()) for value in values.values())


def test_a_sum_keeps_its_place_however_it_is_cut_into_tensors():
    sizes = (1, 40_000, 3, 32_768, 70_000)
    whole = torch.arange(float(sum(sizes)))
    parts = {str(place): part for place, part in enumerate(whole.split(sizes))}
    found = torch.cat(list(noised(parts, sigma=1e-3).values()))
    assert float((found - whole).abs().max()) < 1


def test_wide_noise_is_whole_when_it_is_added():
    """Or low bits of a sum in single precision would say what the noise was added to."""
    noise, values = stream().gaussian(100_000), np.full(100_000, 1.0, np.float32)
    found = np.empty(100_000, np.float32)
    assert put(values, noise, np.float32(1.0), 2.0**25, 1.0, found)
    exact = (np.rint(noise * 2.0**25) + 1).astype(np.float32)
    assert (np.abs(found) > 2**24).sum() > 10_000
    assert (found == exact).all()
    rounded_first = np.rint(noise * 2.0**25).astype(np.float32) + values
    assert (found != rounded_first).any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_shorter_sums_are_noised_too(dtype):
    found = noised({"a": torch.full((10_000,), 2.0, dtype=dtype)})["a"]
    assert found.dtype == torch.float32
    deviation = noise_deviation(1.5, 2.0, 10_000)
    assert stats.kstest((found.numpy() - 2) / deviation, "norm").pvalue > 1e-4


def test_a_sum_that_is_not_of_floating_point_numbers_is_refused():
    with pytest.raises(PrivacyError, match=r"torch\.int64 at 'a'"):
        noised({"a": torch.ones(3, dtype=torch.int64)})


def test_a_sum_that_single_precision_cannot_hold_is_refused():
    with pytest.raises(PrivacyError, match="finite"):
        noised({"a": torch.tensor([3e39], dtype=torch.float64)})


def test_two_threads_never_draw_the_same_words():
    before, source = sys.getswitchinterval(), stream()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            drawn = list(pool.map(lambda _: int(source.words(1)[0]), range(20_000)))
    finally:
        sys.setswitchinterval(before)
    assert len(set(drawn)) == 20_000


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_sum_that_is_not_finite_is_refused(bad):
    with pytest.raises(PrivacyError, match="finite"):
        noised({"a": torch.tensor([1.0, bad])})


@pytest.mark.parametrize(("sigma", "norm"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0)])
def test_no_noise_is_refused(sigma, norm):
    with pytest.raises(PrivacyError, match="expected σ > 0"):
        noised({"a": torch.zeros(1)}, sigma, norm)
