import json
from pathlib import Path

import dp_accounting
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import PrivacyError
from common.privacy import events
from common.privacy.events import (
    DiscreteGaussianShare,
    ExactThroughSecureSum,
    Gaussian,
    PoissonSampledGaussian,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "privacy"
UNITS = st.sampled_from(events.UNITS)
RATES = st.floats(1e-6, 1.0)
SIGMAS = st.floats(0, 1e6)
COUNTS = st.integers(0, 10**9)
ANY = st.one_of(
    st.builds(PoissonSampledGaussian, RATES, SIGMAS, COUNTS, UNITS),
    st.builds(Gaussian, SIGMAS, COUNTS, UNITS),
    st.builds(
        DiscreteGaussianShare,
        RATES,
        SIGMAS,
        COUNTS,
        UNITS,
        st.integers(1, 50),
        st.integers(50, 99),
        st.integers(1, 2**20),
        st.integers(1, 10**8),
    ),
    st.builds(ExactThroughSecureSum, st.text(min_size=1).filter(str.strip), st.integers(1, 999)),
)


@given(ANY)
def test_an_event_reads_back_as_it_was(event):
    assert events.from_json(events.to_json(event)) == event


@given(ANY)
def test_the_json_is_canonical(event):
    text = events.to_json(event)
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


@given(ANY)
def test_an_event_maps_to_a_dp_event_that_reads_back(event):
    mapped = events.to_dp_event(event)
    assert dp_accounting.DpEvent.from_named_tuple(mapped.to_named_tuple()) == mapped


@given(ANY, st.integers(0, 1000))
def test_with_steps_changes_the_steps_only(event, steps):
    other = event.with_steps(steps)
    if isinstance(event, ExactThroughSecureSum):
        assert other == event
    else:
        assert other.steps == steps
        assert other.with_steps(event.steps) == event


@pytest.mark.parametrize("line", (VECTORS / "events.jsonl").read_text().splitlines())
def test_the_golden_events_mean_what_they_meant(line):
    assert events.to_json(events.from_json(line)) == line


BAD = json.loads((VECTORS / "bad_events.json").read_text())


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_event_is_refused(name):
    with pytest.raises(PrivacyError, match=BAD[name]["says"]):
        events.from_json(BAD[name]["text"])


def test_a_poisson_event_is_dp_accountings_own():
    mapped = events.to_dp_event(PoissonSampledGaussian(0.25, 1.5, 7, "person"))
    one = dp_accounting.PoissonSampledDpEvent(0.25, dp_accounting.GaussianDpEvent(1.5))
    assert mapped == dp_accounting.SelfComposedDpEvent(one, 7)


def test_an_exact_release_is_marked_as_not_private():
    mapped = events.to_dp_event(ExactThroughSecureSum("confusion counts", 3))
    assert mapped == dp_accounting.NonPrivateDpEvent()


def test_a_share_is_mapped_to_no_more_noise_than_it_has():
    share = DiscreteGaussianShare(0.25, 2.0, 3, "person", 7, 10, 8192, 10**6)
    assert 1.98 < events.bounding_multiplier(share) < 2.0
