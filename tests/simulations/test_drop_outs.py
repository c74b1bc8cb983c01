"""Sites that fall away, messages that come again: the sum is exact, or there is none."""

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict

from client.app import app as client_app
from client.locks import FileLocks
from common.errors import ExitCode, PrivacyError, Replayed, TooFewSites
from common.models.registry import build
from common.parameters import model_hash, to_arrays
from common.secagg.messages import Refusal, decode, is_refusal
from common.secagg.ring import decode as decode_words
from common.secagg.transcript import model_lock
from common.wire import MESSAGE_TYPES, SINGLE


def raising_at(table, absent: dict[str, set[str]]):
    """The sites' app, but some sites fail in some stage and from then on."""
    gone: set[str] = set()

    def app(message: Message, context: Context) -> Message:
        site = table.site_of(context)
        kinds = {MESSAGE_TYPES[stage] for stage in absent if site in absent[stage]}
        if message.metadata.message_type in kinds:
            gone.add(site)
        if site in gone:
            raise RuntimeError(f"{site} lost its power, and this text must not be read")
        return client_app(message, context)

    return app


def model_of(table):
    return to_arrays(build(table.study))


@pytest.mark.parametrize("stage", ["advertise", "share", "mask"])
def test_a_site_that_falls_away_before_its_vector_came_is_left_out(lay_table, stage):
    table = lay_table()
    sums, lines = table.sums(table.grid(raising_at(table, {stage: {"lake"}})))
    assert sums.over("evaluate", 1, model_of(table)).decoded.sites == 3
    assert any("lake" in line for line in lines)
    assert not any("power" in line for line in lines)


@pytest.mark.parametrize("stage", ["confirm", "unmask"])
def test_a_site_that_falls_away_after_its_vector_came_is_in_the_sum(lay_table, stage):
    table, whole = lay_table(), lay_table()
    sums, _ = table.sums(table.grid(raising_at(table, {stage: {"lake"}})))
    total = sums.over("train", 1, model_of(table)).decoded
    alone = whole.sums()[0].over("train", 1, model_of(whole)).decoded
    assert total.sites == 4
    assert total.weights == alone.weights
    assert all(np.array_equal(total.sums[n], alone.sums[n]) for n in alone.sums)


def test_the_survivors_sum_is_exactly_theirs(lay_table):
    """Counts without one site, next to the counts that each survivor would have sent."""
    from client.contribute import contribution

    table, apart = lay_table(), lay_table()
    sums, _ = table.sums(table.grid(raising_at(table, {"mask": {"hill"}})))
    model = model_of(table)
    total = sums.over("evaluate", 1, model).decoded
    context = table.context(sums, "evaluate", 1, b"\x00" * 32)
    layout = sums.policy.layouts["evaluate"]
    words = sum(contribution(apart.session(s), context, model) for s in ("harbour", "lake", "mill"))
    expected = decode_words(layout, words, 3)
    assert all(np.array_equal(total.exacts[n], expected.exacts[n]) for n in expected.exacts)


@pytest.mark.parametrize("stage", SINGLE[1:])
def test_without_a_majority_there_is_no_sum(lay_table, stage):
    table = lay_table()
    sums, _ = table.sums(table.grid(raising_at(table, {stage: {"lake", "mill"}})))
    with pytest.raises(TooFewSites):
        sums.over("evaluate", 1, model_of(table))


def test_a_site_that_comes_back_takes_part_in_the_next_round(lay_table):
    table, model = lay_table(), None
    model = model_of(table)
    table.sums(table.grid(raising_at(table, {"mask": {"lake"}})))[0].over("evaluate", 1, model)
    other = {name: value + 1 for name, value in model.items()}
    assert table.sums()[0].over("evaluate", 2, other).decoded.sites == 4


def test_a_second_sum_over_one_model_is_refused(lay_table):
    table = lay_table()
    sums, _ = table.sums()
    sums.over("evaluate", 1, model_of(table))
    with pytest.raises(PrivacyError, match="harbour, hill, lake, mill refused: going on would"):
        sums.over("evaluate", 2, model_of(table))


def test_a_site_that_confirmed_a_model_is_a_drop_out_in_another_sum_over_it(lay_table):
    """As after a coordinator's crash: the others have not confirmed it, and go on."""
    table = lay_table()
    model = model_of(table)
    lock = model_lock("evaluate", model_hash(model))
    assert FileLocks(table.folder("hill") / "locks.log").lock(lock)
    sums, lines = table.sums()
    assert sums.over("evaluate", 1, model).contributors == ("harbour", "lake", "mill")
    assert "hill refused mask: privacy" in lines


@pytest.mark.parametrize("stage", SINGLE[1:])
def test_a_replayed_message_is_refused_and_changes_nothing(lay_table, stage):
    table, kept = lay_table(), {}
    contexts: dict[str, Context] = {}

    def app(message: Message, context: Context) -> Message:
        contexts[table.site_of(context)] = context
        if table.site_of(context) == "hill":
            kept[message.metadata.message_type] = message
        return client_app(message, context)

    table.sums(table.grid(app))[0].over("evaluate", 1, model_of(table))
    before = bytes(contexts["hill"].state["secagg-evaluate"]["ending"])
    reply = client_app(kept[MESSAGE_TYPES[stage]], contexts["hill"])
    body = bytes(reply.content["tacit"].get("body", b""))
    refusal = decode(Refusal, body, "hill") if is_refusal(body) else None
    assert refusal or "refused" in reply.content["tacit"]
    assert bytes(contexts["hill"].state["secagg-evaluate"]["ending"]) == before


@pytest.mark.parametrize("stage", SINGLE[1:])
def test_a_message_to_a_site_that_forgot_its_state_is_refused(lay_table, stage):
    """A restart in the middle of a round, or an older state put back."""
    table, kept = lay_table(), {}

    def app(message: Message, context: Context) -> Message:
        if table.site_of(context) == "hill":
            kept[message.metadata.message_type] = message
            kept["context"] = context
        return client_app(message, context)

    table.sums(table.grid(app))[0].over("evaluate", 1, model_of(table))
    kept["context"].state = RecordDict()
    reply = client_app(kept[MESSAGE_TYPES[stage]], kept["context"])
    record = reply.content["tacit"]
    assert "refused" in record or is_refusal(bytes(record["body"]))


def test_a_round_that_the_ledger_holds_says_nothing_of_the_ledger(lay_table):
    """The locks were lost, the ledger was not: the second charge is refused, in one word."""
    table = lay_table()
    table.sums()[0].over("evaluate", 1, model_of(table))
    for site in table.sites:
        (table.folder(site) / "locks.log").unlink()
    said = []

    def tap(message: Message) -> None:
        record = dict(message.content.config_records["tacit"])
        said.append(record) if "refused" in record else None

    with pytest.raises(Replayed, match="this round was begun there before") as error:
        table.sums(table.grid(tap=tap))[0].over("evaluate", 1, model_of(table))
    assert error.value.exit_code == ExitCode.PRIVACY
    assert said == [{"refused": "replay"}] * 4
