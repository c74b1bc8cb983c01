"""Keys that ride: a steady round costs three trips, and every sum is what it would be without."""

import numpy as np
import pytest
from flwr.app import Context, Message

import server.app
from client.app import app as client_app
from common.errors import ExitCode, PolicyRefused, TooFewSites
from common.models.registry import build
from common.parameters import to_arrays
from common.secagg.messages import Pair, ShareRequest, decode, encode
from common.secagg.states import Shared, load
from common.wire import MESSAGE_TYPES
from server.secure_sum import Sums

STEADY = ["mask", "confirm+advertise", "unmask+share"]
ONE_A_KEY = ("training.num_server_rounds=9", "secure_aggregation.rounds_per_key=1")
TWO_A_KEY = ("training.num_server_rounds=9", "secure_aggregation.rounds_per_key=2")
FIVE = ["advertise", "share", "mask", "confirm", "unmask"]


def trips_of(requests: list[Message]) -> list[tuple[str, str]]:
    """(task, stage) of each trip, in order: messages of one kind that were sent together."""
    names, trips = {kind: stage for stage, kind in MESSAGE_TYPES.items()}, []
    for request in requests:
        stage = names[request.metadata.message_type]
        trip = (str(request.content["tacit"].get("task", "")), stage)
        if not trips or trips[-1] != trip:
            trips.append(trip)
    return trips


def model_of(table, number=0):
    return {name: value + number for name, value in to_arrays(build(table.study)).items()}


class Unridden(Sums):
    """Sums that are told of no round to come: each one makes keys for itself."""

    def over(self, task, number, model, last=0):
        return super().over(task, number, model, number)


@pytest.mark.slow
@pytest.mark.parametrize("rounds_per_key", [1, 8])
def test_a_run_of_twenty_rounds_costs_five_trips_and_then_three(run_tiny, rounds_per_key):
    """Training and evaluation have keys of their own, and theirs ride apart."""
    settings = ("training.num_server_rounds=20", "training.evaluate_every=4")
    whole = run_tiny(*settings, f"secure_aggregation.rounds_per_key={rounds_per_key}")
    trips = trips_of(whole.tape.requests)
    assert trips[0] == ("", "hello")
    train = [stage for task, stage in trips if task == "train"]
    evaluate = [stage for task, stage in trips if task == "evaluate"]
    assert len(train) == 5 + 19 * 3
    assert len(evaluate) == 5 + 4 * 3
    assert train[:2] == evaluate[:2] == ["advertise", "share"]
    assert train.count("unmask+share") == (19 if rounds_per_key == 1 else 2)
    assert evaluate.count("unmask+share") == (4 if rounds_per_key == 1 else 0)
    assert [stage for stage in train if stage == "mask"] == ["mask"] * 20


def test_a_run_whose_keys_ride_ends_in_the_same_model(run_tiny, monkeypatch):
    settings = ("training.num_server_rounds=4", "secure_aggregation.rounds_per_key=2")
    riding = run_tiny(*settings)
    monkeypatch.setattr(server.app, "Sums", Unridden)
    alone = run_tiny(*settings)
    seen = {stage for _, stage in trips_of(riding.tape.requests)}
    assert seen == {"hello", *FIVE, *STEADY}
    assert {stage for _, stage in trips_of(alone.tape.requests)} == {"hello", *FIVE}
    assert riding.run.model.read_bytes() == alone.run.model.read_bytes()

    def rounds(whole):
        return [(x["sites"], x["metrics"]) for x in whole.run.progress() if x["event"] == "round"]

    assert rounds(riding) == rounds(alone)


def losing(table, site: str, at: str, times: int = 1):
    """The sites' app, but one site gives no answer to the first messages of one stage."""
    left = [times]

    def app(message: Message, context: Context) -> Message:
        lost = message.metadata.message_type == MESSAGE_TYPES[at]
        if lost and table.site_of(context) == site and left[0]:
            left[0] -= 1
            raise RuntimeError
        return client_app(message, context)

    return app


def contributors(table, grid, rounds=4):
    """Who is in each of some evaluation sums, and what the coordinator logged."""
    sums, lines = table.sums(grid)
    numbers = range(1, rounds + 1)
    models = [model_of(table, number) for number in numbers]
    found = [sums.over("evaluate", n, m, rounds) for n, m in zip(numbers, models, strict=True)]
    return [total.contributors for total in found], lines


EVERY = ("harbour", "hill", "lake", "mill")
WITHOUT = ("harbour", "hill", "mill")


@pytest.mark.parametrize("stage", STEADY[1:])
def test_a_site_that_is_away_while_keys_ride_is_back_at_the_next_keying(lay_table, stage):
    """Keys for two rounds; lost in the last round of the first keys, so out for two."""
    table = lay_table(*TWO_A_KEY)
    found, lines = contributors(table, table.grid(losing(table, "lake", stage)), rounds=6)
    assert found == [EVERY, EVERY, WITHOUT, WITHOUT, EVERY, EVERY]
    assert any("lake" in line for line in lines)


def test_a_site_that_misses_a_round_takes_part_in_the_keys_that_ride_on_its_end(lay_table):
    table = lay_table(*ONE_A_KEY)
    found, _ = contributors(table, table.grid(losing(table, "lake", "mask")), rounds=3)
    assert found == [WITHOUT, EVERY, EVERY]


def without_halves(table, at: str, sites: set[str], first: bool = False):
    """The sites' app, but the riding half of some sites' first replies is lost on the way."""
    seen: set[str] = set()

    def app(message: Message, context: Context) -> Message:
        reply, site = client_app(message, context), table.site_of(context)
        hit = message.metadata.message_type == MESSAGE_TYPES[at] and site in sites - seen
        if hit:
            seen.add(site)
            pair = decode(Pair, reply.content["tacit"]["body"], site)
            halves = (b"", pair.second) if first else (pair.first, b"")
            reply.content["tacit"]["body"] = encode(Pair(*halves))
        return reply

    return app


@pytest.mark.parametrize("stage", STEADY[1:])
def test_riding_that_fails_falls_back_to_five_trips(lay_table, stage):
    table, said = lay_table(*ONE_A_KEY), []
    lossy = without_halves(table, stage, {"hill", "lake", "mill"})
    found, lines = contributors(table, table.grid(lossy, tap=said.append), rounds=3)
    assert found == [EVERY] * 3
    assert any("could not ride" in line for line in lines)
    trips = [stage for _, stage in trips_of(said[0::2])]
    failed = ["mask", "confirm+advertise", "unmask" if stage == STEADY[1] else "unmask+share"]
    keying = ["advertise", "share"]
    assert trips == [*keying, *failed, *keying, *STEADY, "mask", "confirm", "unmask"]


def test_a_sum_whose_ending_halves_are_lost_does_not_open(lay_table):
    table = lay_table(*ONE_A_KEY)
    lossy = without_halves(table, "unmask+share", {"hill", "lake"}, first=True)
    with pytest.raises(TooFewSites, match="UNMASK"):
        contributors(table, table.grid(lossy))


def test_a_refusal_of_the_riding_half_leaves_the_sum_and_ends_the_run_with_its_word(lay_table):
    """A site that joins two rounds only is asked for keys of a third while the second ends."""
    rounds = ("secure_aggregation.rounds_per_key=1", "training.num_server_rounds=4")
    table = lay_table(*rounds)
    table.change_policy("lake", max_rounds=2)
    sums, lines = table.sums()
    for number in (1, 2):
        assert sums.over("train", number, model_of(table, number), 4).contributors == EVERY
    assert "keys for train 3 could not ride; they are made anew" in lines
    assert '"word": "policy"' in (table.folder("lake") / "site.log").read_text()
    with pytest.raises(PolicyRefused, match="lake refused: the site's policy") as error:
        sums.over("train", 3, model_of(table, 3), 4)
    assert error.value.exit_code == ExitCode.POLICY
    assert "lake refused advertise: policy" in lines


def test_keys_ride_only_with_what_this_site_advertised(lay_table):
    """The coordinator shows one site another set of adverts: that half alone is refused."""
    table = lay_table(*ONE_A_KEY)

    def app(message: Message, context: Context) -> Message:
        hit = message.metadata.message_type == MESSAGE_TYPES["unmask+share"]
        if hit and table.site_of(context) == "hill":
            pair = decode(Pair, message.content["tacit"]["body"], "coordinator")
            share = decode(ShareRequest, pair.second, "coordinator")
            fewer = ShareRequest(share.keying, share.adverts[:3])
            message.content["tacit"]["body"] = encode(Pair(pair.first, encode(fewer)))
        return client_app(message, context)

    sums, lines = table.sums(table.grid(app))
    assert sums.over("evaluate", 1, model_of(table, 1), 3).contributors == EVERY
    assert any("could not ride" in line for line in lines)


def test_no_secret_of_a_round_stays_behind_when_keys_ride(lay_table):
    """What is kept after UNMASK + SHARE is one state, of the round that begins."""
    table = lay_table(*ONE_A_KEY)
    contexts: dict[str, Context] = {}

    def app(message: Message, context: Context) -> Message:
        contexts[table.site_of(context)] = context
        return client_app(message, context)

    table.sums(table.grid(app))[0].over("evaluate", 1, model_of(table), 2)
    for context in contexts.values():
        kept = dict(context.state["secagg-evaluate"])
        assert list(kept) == ["ending"]
        state = load(kept["ending"])
        assert isinstance(state, Shared)
        assert state.context.round == 2


def test_sums_with_and_without_riding_are_equal(lay_table):
    found = []
    for last in (0, 3):
        table = lay_table(*ONE_A_KEY)
        sums, _ = table.sums()
        totals = [sums.over("train", n, model_of(table, n), last).decoded for n in (1, 2, 3)]
        found.append([{name: total.sums[name] for name in total.sums} for total in totals])
    for one, other in zip(*found, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)
