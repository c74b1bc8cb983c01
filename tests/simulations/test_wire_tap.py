"""Everything that crosses in a whole run, looked at byte by byte: nothing of a person is in it."""

import struct

import numpy as np
import pytest

from client.contribute import contribution
from client.session import Sessions
from common.models.registry import build
from common.parameters import model_hash, to_arrays
from common.secagg.messages import (
    Advert,
    AdvertiseRequest,
    Confirmation,
    Dealing,
    Pair,
    Reveal,
    Upload,
    decode,
    encode,
)
from common.secagg.riding import JOINED
from common.sums import policy_for
from common.wire import MESSAGE_TYPES, SINGLE
from simulations.federation import every_value
from simulations.studies import site_names

FORMS = dict(zip(SINGLE[1:], (Advert, Dealing, Upload, Confirmation, Reveal), strict=True))
RUNS = ("open_run", "local_run", "shared_run", "riding_run", "counting_run")


@pytest.fixture(scope="module")
def riding_run(run_tiny):
    """A finished run in which each round's keys ride on the round before."""
    return run_tiny("training.num_server_rounds=3", "secure_aggregation.rounds_per_key=1")


@pytest.fixture(scope="module")
def counting_run(run_tiny):
    """A finished run whose sites count their classes together before the first round."""
    return run_tiny("training.num_server_rounds=2", "training.balance_over=all_sites")


@pytest.fixture(params=RUNS)
def whole(request):
    return request.getfixturevalue(request.param)


def stage_of(message) -> str:
    return next(s for s, kind in MESSAGE_TYPES.items() if kind == message.metadata.message_type)


def replies(whole):
    """Each reply with its stage, its task ("" at hello) and its values."""
    for request, reply in zip(whole.tape.requests, whole.tape.replies, strict=True):
        stage, task = stage_of(request), request.content["tacit"].get("task", "")
        if stage == "advertise":
            body = request.content["tacit"]["body"]
            assert decode(AdvertiseRequest, body, "coordinator").context.task == task
        yield stage, task, reply, every_value(reply)


def replied_bytes(whole) -> bytes:
    found = []
    for _, _, reply, values in replies(whole):
        found += [v if isinstance(v, bytes) else repr(v).encode() for v in values.values()]
        found.append(repr(reply.metadata).encode())
    return b"\x00".join(found)


def messages(whole):
    """Each body with the stage that it answers: both halves of a joined one by themselves."""
    for stage, task, _, values in replies(whole):
        if stage in JOINED:
            pair = decode(Pair, values["tacit.body"], "a site")
            assert encode(pair) == values["tacit.body"]
            ends, begins = stage.split("+")
            yield ends, task, pair.first
            yield begins, task, pair.second
        elif stage != "hello":
            yield stage, task, values["tacit.body"]


def test_every_stage_of_every_task_was_seen(whole):
    seen = {(stage, task) for stage, task, _, _ in replies(whole)}
    tasks = {task for _, task in seen if task}
    rides = whole.study.secure_aggregation.rounds_per_key == 1
    stages = (*SINGLE[1:], *JOINED) if rides else SINGLE[1:]
    assert {"train", "evaluate"} <= tasks
    assert seen == {("hello", ""), *((s, t) for s in stages for t in tasks)}


def test_a_site_says_hello_with_its_name_and_the_version_alone(whole):
    hellos = [values for stage, _, _, values in replies(whole) if stage == "hello"]
    names = site_names(whole.run)
    assert hellos == [{"tacit.version": 1, "tacit.site": name} for name in names]


def test_every_other_reply_is_one_body_of_bytes(whole):
    for stage, _, reply, values in replies(whole):
        assert not reply.has_error()
        assert reply.metadata.group_id == ""
        if stage != "hello":
            assert list(values) == ["tacit.body"]
            assert type(values["tacit.body"]) is bytes


def test_every_body_is_one_message_of_the_protocol_without_a_spare_byte(whole):
    for stage, _, body in messages(whole):
        assert encode(decode(FORMS[stage], body, "a site")) == body


def test_a_masked_vector_is_as_long_as_its_layout_and_the_check_word(whole):
    policy = policy_for(whole.study, whole.run_roster)
    for stage, task, _, values in replies(whole):
        if stage == "mask":
            vector = decode(Upload, values["tacit.body"], "a site").vector
            assert len(vector) == 8 * (policy.layouts[task].words + 1)


def test_sizes_do_not_depend_on_the_site(whole):
    sizes: dict[tuple[str, str, int], set[int]] = {}
    for stage, task, body in messages(whole):
        if stage in ("advertise", "confirm", "mask"):
            message = decode(FORMS[stage], body, "x")
            name = len(message.uploaded.site if stage == "mask" else message.site)
            keyed = len(message.steps) if stage == "advertise" else 0
            sizes.setdefault((stage, task, keyed), set()).add(len(body) - name)
    assert all(len(found) == 1 for found in sizes.values())


def test_no_feature_of_any_clip_crosses(whole, tiny_data):
    crossed = replied_bytes(whole)
    for rows in tiny_data.rows.values():
        for row in rows:
            for values in (row.features_a, row.features_b):
                for order in "<>":
                    pairs = zip(values[::2], values[1::2], strict=True)
                    needles = [struct.pack(f"{order}2f", *pair) for pair in pairs]
                    needles += [struct.pack(f"{order}d", value) for value in values]
                    needles += [repr(value)[:9].encode() for value in values]
                    assert not [n for n in needles if n in crossed], row.sample_id


def test_no_sites_counts_of_classes_cross_by_themselves(counting_run):
    run, crossed = counting_run.run, replied_bytes(counting_run)
    sent = [every_value(request) for request in counting_run.tape.requests]
    for site in site_names(run):
        opened = Sessions()(run.federation / "sites" / site, str(run.study), (), (0,))
        counts = opened.train_data.y_NC.sum(0)
        assert counts.any()
        for needle in (counts.astype("<i8") << 20, counts.astype("<f4"), counts.astype("<i8")):
            assert needle.tobytes() not in crossed
        assert not [one for one in sent if np.array_equal(one.get("model.balance.counts"), counts)]
    assert any("model.balance.counts" in one for one in sent)


def test_no_person_no_clip_and_no_label_crosses(whole, tiny_data):
    crossed = replied_bytes(whole)
    for rows in tiny_data.rows.values():
        for row in rows:
            for text in (row.person_id, row.sample_id, row.label):
                assert text.encode() not in crossed
                assert text.encode("utf-16-le") not in crossed


def test_no_parameter_and_no_metric_crosses_in_the_clear(whole):
    crossed = replied_bytes(whole)
    for request in whole.tape.requests:
        for key, value in every_value(request).items():
            if key.startswith("model.") and np.ptp(value):
                flat = np.asarray(value, np.float32).reshape(-1)
                pairs = [flat[i : i + 2].tobytes() for i in range(0, len(flat) - 1, 2)]
                assert not [p for p in pairs if p.strip(b"\0") and p in crossed], key
    for word in (b"num_examples", b"num-examples", b"loss", b"accuracy", b"metrics", b"epsilon"):
        assert word not in crossed


def test_no_site_secret_crosses(whole):
    crossed = replied_bytes(whole)
    for path in whole.run.federation.glob("sites/*/identity.key"):
        assert bytes.fromhex(path.read_text()) not in crossed


@pytest.mark.parametrize("mode", ["none", "local", "distributed"])
def test_a_masked_vector_agrees_with_what_it_hides_in_no_word(lay_table, mode):
    settings = [f"privacy.mode={mode}"]
    settings += [] if mode == "none" else ["privacy.noise_multiplier=2.0"]
    table, uploads = lay_table(*settings), {}

    def tap(message):
        if message.metadata.message_type == "train.mask" and "model" not in message.content:
            upload = decode(Upload, message.content["tacit"]["body"], "a site")
            uploads[upload.uploaded.site] = np.frombuffer(upload.vector, "<u8")

    sums, _ = table.sums(table.grid(tap=tap))
    model = to_arrays(build(table.study))
    context = table.context(sums, "train", 1, model_hash(model))
    plain = {site: lay_table(*settings).session(site) for site in table.sites}
    words = {site: contribution(one, context, model) for site, one in plain.items()}
    sums.over("train", 1, model)
    assert set(uploads) == set(words)
    for site, hidden in words.items():
        assert len(uploads[site]) == len(hidden) + 1
        assert not (uploads[site][:-1] == hidden).any()
