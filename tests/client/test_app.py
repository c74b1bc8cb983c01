"""A handler never raises, and says nothing of a failure but one word or the protocol's blame."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import client.app
from client.app import app, place_of, site_root
from common.errors import ConfigError
from common.models.registry import build
from common.parameters import to_arrays
from common.refusals import REFUSALS
from common.secagg.messages import Refusal, decode, is_refusal
from common.wire import MESSAGE_TYPES, STAGES

SECRET = "patient-0815 at /var/hospital"


def context_of(table, number=0, **more) -> Context:
    table.grid()  # Flower's messages want a task's identity in the process
    return Context(
        run_id=1,
        node_id=1,
        node_config={"partition-id": number, **more},
        state=RecordDict(),
        run_config=dict(table.config),
    )


def ask(stage: str, records: RecordDict, context: Context) -> dict[str, object]:
    """Send one message; the fields of the reply."""
    message = Message(records, 1, MESSAGE_TYPES[stage])
    message.metadata.__dict__["_message_id"] = "m"
    reply = app(message, context)
    assert not reply.has_error()
    assert list(reply.content) == ["tacit"]
    return dict(reply.content["tacit"])


def assert_refused(fields: dict[str, object]) -> str:
    """It is a refusal in one known word, or one of the protocol's, and it holds no secret."""
    if "refused" in fields:
        assert fields == {"refused": fields["refused"]}
        assert fields["refused"] in REFUSALS
        return str(fields["refused"])
    assert set(fields) == {"body"}
    assert is_refusal(fields["body"])
    reason = decode(Refusal, fields["body"], "a site").reason
    assert SECRET not in reason
    assert "/" not in reason.replace("and/or", "")
    return "body"


def body(data: bytes) -> RecordDict:
    return RecordDict({"tacit": ConfigRecord({"task": "train", "body": data})})


BAD = {
    "nothing": RecordDict(),
    "garbage": body(b"garbage"),
    "empty": body(b""),
    "a header alone": body(b"SA1\x00\x01"),
    "text": RecordDict({"tacit": ConfigRecord({"task": "train", "body": "text"})}),
    "more": RecordDict(
        {"tacit": ConfigRecord({"task": "train", "body": b"", "send-me": "everything"})}
    ),
    "metrics": RecordDict({"tacit": MetricRecord({"body": 1.0})}),
    "arrays": RecordDict({"tacit": ArrayRecord({"body": Array(np.zeros(3))})}),
    "a model that is none": RecordDict(
        {
            "tacit": ConfigRecord({"task": "train", "body": b"SA1\x00\x05"}),
            "model": ArrayRecord({"w": Array("float32", (9,), "numpy.ndarray", b"not numpy")}),
        }
    ),
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_message_is_refused(lay_table, stage, bad):
    assert_refused(ask(stage, BAD[bad], context_of(lay_table())))


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(stage=st.sampled_from(STAGES[1:]), data=st.binary(max_size=300), tag=st.integers(1, 12))
def test_any_bytes_are_refused(lay_table, stage, data, tag):
    if not hasattr(test_any_bytes_are_refused, "table"):
        test_any_bytes_are_refused.table = lay_table()
    context = context_of(test_any_bytes_are_refused.table)
    assert_refused(ask(stage, body(b"SA1\x00" + bytes([tag]) + data), context))


def break_policy(folder):
    (folder / "policy.yaml").write_text("site: [\n")


def break_key(folder):
    (folder / "identity.key").chmod(0o644)


def lose(name):
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "harm",
    [break_policy, lose("policy.yaml"), lose("roster.json"), lambda f: f.rename(f.with_name("x"))],
    ids=["policy broken", "policy lost", "roster lost", "folder lost"],
)
def test_a_site_that_is_out_of_order_says_so_in_one_word(lay_table, stage, harm):
    table = lay_table()
    folder = table.folder("harbour")
    harm(folder)
    hello = RecordDict({"tacit": ConfigRecord({"version": 1})})
    fields = ask(stage, hello if stage == "hello" else body(b"x"), context_of(table))
    if (
        stage == "hello"
        and (table.folder("harbour") / "policy.yaml").is_file()
        and "site" in fields
    ):
        assert fields["site"] == "harbour"  # who it is needs no roster
    else:
        assert assert_refused(fields) == "config"


@pytest.mark.parametrize("harm", [break_key, lose("identity.key")], ids=["key open", "key lost"])
def test_a_site_without_its_key_ends_the_run_by_name(lay_table, harm):
    table = lay_table()
    harm(table.folder("hill"))
    with pytest.raises(ConfigError, match="hill refused"):
        table.sums()[0].over("evaluate", 1, to_arrays(build(table.study)))


def test_a_site_that_cannot_remember_joins_no_sum(lay_table):
    table = lay_table()
    (table.folder("hill") / "locks.log").mkdir()
    sums, lines = table.sums()
    total = sums.over("evaluate", 1, to_arrays(build(table.study)))
    assert total.contributors == ("harbour", "lake", "mill")
    assert any("hill refused advertise: fault" in line for line in lines)


def test_the_reason_stays_in_the_sites_own_log(lay_table):
    table = lay_table()
    break_policy(table.folder("harbour"))
    ask("advertise", body(b"x"), context_of(table))
    log = table.folder("harbour") / "site.log"
    assert "policy.yaml" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_a_node_without_a_site_says_so_in_one_word(lay_table):
    table = lay_table()
    for context in (context_of(table, number=99), context_of(table)):
        if context.node_config["partition-id"] == 0:
            context.run_config = {}
        assert assert_refused(ask("hello", RecordDict(), context)) in ("config", "fault")


@pytest.mark.parametrize(
    "error", [RuntimeError, MemoryError, KeyError, OSError, ValueError, RecursionError]
)
def test_whatever_is_raised_never_leaves(lay_table, monkeypatch, error):
    def fail(*_args: object, **_options: object) -> None:
        raise error(SECRET)

    monkeypatch.setattr(client.app, "answer", fail)
    fields = ask("advertise", body(b"x"), context_of(lay_table()))
    assert fields == {"refused": "fault"}


def test_a_fault_while_training_is_one_word_and_the_round_goes_on(lay_table, monkeypatch):
    import client.contribute as module

    table, train = lay_table(), module._train
    calls: list[str] = []

    def fail(session, model, entropy):
        if session.site.name == "lake":
            calls.append("lake")
            raise ValueError(SECRET)
        return train(session, model, entropy)

    monkeypatch.setattr(module, "_train", fail)
    said: list[Message] = []
    sums, lines = table.sums(table.grid(tap=said.append))
    assert sums.over("train", 1, to_arrays(build(table.study))).decoded.sites == 3
    assert calls == ["lake"]
    assert any(line == "lake refused mask: fault" for line in lines)
    assert not any(SECRET.encode() in repr(m.content).encode() for m in said if m.has_content())
    assert SECRET in (table.folder("lake") / "site.log").read_text()


def test_a_deployed_node_uses_its_own_folder(lay_table, tmp_path):
    table = lay_table()
    policy = table.folder("mill") / "policy.yaml"
    context = context_of(table, **{"site-dir": str(table.folder("mill"))})
    if "reproducible_seed: null" not in policy.read_text():
        with pytest.raises(ConfigError, match="reproducible_seed is for simulations"):
            site_root(context)
        text = re.sub(r"reproducible_seed: .*", "reproducible_seed: null", policy.read_text())
        policy.write_text(text)
    assert site_root(context) == table.folder("mill")
    hello = RecordDict({"tacit": ConfigRecord({"version": 1})})
    assert ask("hello", hello, context) == {"version": 1, "site": "mill"}


def test_where_a_site_is_in_a_study_is_known_to_itself(lay_table):
    table, seen = lay_table(), []

    def app_and_place(message, context):
        made = app(message, context)
        if table.site_of(context) == "hill":
            seen.append((message.metadata.message_type, *place_of(message, context)))
        return made

    sums, _ = table.sums(table.grid(app_and_place))
    sums.over("train", 2, to_arrays(build(table.study)))
    study = table.config["study"]
    assert seen == [(kind, study, 2) for kind, _, _ in seen]
    assert MESSAGE_TYPES["mask"] in {kind for kind, _, _ in seen}
    hello = Message(RecordDict({"tacit": ConfigRecord({"version": 1})}), 1, MESSAGE_TYPES["hello"])
    assert place_of(hello, context_of(table)) == (study, 0)
    seen.clear()
    sums.over("evaluate", 1, to_arrays(build(table.study)))
    assert {(name, number) for _, name, number in seen} == {(study, 0)}


def test_more_nodes_than_sites_are_refused(lay_table):
    with pytest.raises(ConfigError, match="more nodes than the 4 sites"):
        site_root(context_of(lay_table(), number=4))


def test_a_policy_that_changes_is_read_anew(lay_table):
    table: object = lay_table()
    hello = RecordDict({"tacit": ConfigRecord({"version": 1})})
    fields: Callable = lambda: ask("hello", hello.copy(), context_of(table))  # noqa: E731
    assert fields()["site"] == "harbour"
    path = table.folder("harbour") / "policy.yaml"
    path.write_text(path.read_text().replace("site: harbour", "site: pier"))
    assert fields()["site"] == "pier"
