"""One table of words: what a site raised, what the coordinator says and ends with."""

import pytest

from common import errors
from common.errors import (
    BudgetSpent,
    ExitCode,
    OutOfOrder,
    PeerMisbehaved,
    PolicyRefused,
    PrivacyError,
    Replayed,
    TacitError,
    TooFewSites,
)
from common.refusals import REFUSALS, ends_the_run, error_of, word_of


@pytest.mark.parametrize("word", REFUSALS)
def test_a_word_is_looked_up_by_the_error_that_it_stands_for(word):
    assert word_of(REFUSALS[word].error("secret")) == word


def test_every_type_of_error_has_a_word():
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, TacitError)]
    made = [PeerMisbehaved("x", "y") if k is PeerMisbehaved else k("x") for k in kinds]
    assert {word_of(one) for one in made} == set(REFUSALS)
    assert word_of(ValueError("patient-7")) == "fault"
    assert word_of(TooFewSites("x")) == "protocol"
    assert word_of(Replayed("x")) == "replay"
    assert word_of(OutOfOrder("x")) == "order"


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("policy", ExitCode.POLICY),
        ("quiet", ExitCode.POLICY),
        ("budget", ExitCode.PRIVACY),
        ("ledger", ExitCode.PRIVACY),
        ("replay", ExitCode.PRIVACY),
        ("privacy", ExitCode.PRIVACY),
        ("data", ExitCode.BAD_INPUT),
        ("config", ExitCode.BAD_INPUT),
    ],
)
def test_what_a_refusal_ends_a_run_with(word, code):
    error = error_of({"hill": word, "lake": word})
    assert type(error) is REFUSALS[word].error
    assert error.exit_code == code
    assert str(error) == REFUSALS[word].says.format(sites="hill, lake")


def test_drop_outs_say_nothing_of_a_run():
    for word in ("order", "protocol", "fault"):
        assert not ends_the_run(word)
        assert error_of({"hill": word}) is None
    assert not ends_the_run("privacy")
    assert not ends_the_run("quiet")
    assert error_of({}) is None


def test_refusals_of_several_kinds_name_every_site():
    error = error_of({"mill": "budget", "hill": "policy", "lake": "budget", "pier": "fault"})
    assert isinstance(error, PolicyRefused)
    assert "hill refused" in str(error)
    assert "The privacy cap of lake, mill is met" in str(error)
    assert "pier" not in str(error)


def test_what_is_said_holds_nothing_but_names_and_kind():
    for row in REFUSALS.values():
        assert row.says.replace("{sites}", "").count("{") == 0
    assert issubclass(BudgetSpent, PrivacyError)
