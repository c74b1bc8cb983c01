import tracemalloc
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import PeerMisbehaved, ProtocolError
from common.secagg import codec, messages
from common.secagg.messages import FORMS, Confirmation, Refusal, decode, encode


@dataclass(frozen=True)
class Sample:
    number: int
    name: str
    raw: bytes
    several: tuple[int, ...]
    perhaps: bytes | None


SAMPLE = codec.struct(
    Sample,
    codec.U32,
    codec.text(20),
    codec.fixed(3),
    codec.many(codec.U16, 5),
    codec.optional(codec.blob(4)),
)

samples = st.builds(
    Sample,
    st.integers(0, (1 << 32) - 1),
    st.text(max_size=5),
    st.binary(min_size=3, max_size=3),
    st.lists(st.integers(0, 65535), max_size=5).map(tuple),
    st.none() | st.binary(max_size=4),
)


@given(samples)
def test_what_is_written_is_read(sample):
    assert SAMPLE.load(SAMPLE.dump(sample)) == sample


@given(samples, samples)
def test_two_values_never_have_one_encoding(one, other):
    assert (SAMPLE.dump(one) == SAMPLE.dump(other)) == (one == other)


@given(st.binary(max_size=60))
def test_bytes_have_one_reading_or_none(raw):
    """Canonical: whatever can be read is written back as the very same bytes."""
    try:
        sample = SAMPLE.load(raw)
    except ProtocolError:
        return
    assert SAMPLE.dump(sample) == raw


@given(samples, st.integers(0, 40))
def test_a_truncated_value_is_refused(sample, cut):
    raw = SAMPLE.dump(sample)
    with pytest.raises(ProtocolError):
        SAMPLE.load(raw[: max(0, len(raw) - 1 - cut)])


@given(samples)
def test_something_appended_is_refused(sample):
    with pytest.raises(ProtocolError, match="too many"):
        SAMPLE.load(SAMPLE.dump(sample) + b"\0")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"number": 1 << 32}, "integer of 4 bytes"),
        ({"number": -1}, "integer of 4 bytes"),
        ({"name": "x" * 21}, "at most 20 bytes"),
        ({"raw": b"12"}, "expected 3 bytes"),
        ({"several": (1,) * 6}, "at most 5 items"),
        ({"perhaps": b"12345"}, "at most 4 bytes"),
    ],
)
def test_what_the_form_does_not_hold_cannot_be_written(changes, reason):
    good = {"number": 1, "name": "a", "raw": b"123", "several": (), "perhaps": None}
    with pytest.raises(ProtocolError, match=reason):
        SAMPLE.dump(Sample(**{**good, **changes}))


def test_names_that_are_no_text_are_refused():
    with pytest.raises(ProtocolError, match="UTF-8"):
        codec.NAME.load(b"\0\0\0\1\xff")


@pytest.mark.parametrize("cls", list(FORMS))
def test_a_huge_length_allocates_nothing(cls):
    """A length is compared with what is there before anything is allocated."""
    head = messages.MAGIC + bytes([FORMS[cls][0]])
    tracemalloc.start()
    try:
        for at in range(64):
            with pytest.raises(PeerMisbehaved):
                decode(cls, head + bytes(at) + b"\xff" * 64, "site")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_message_of_another_type_is_refused_by_name():
    raw = encode(Confirmation("a", b""))
    with pytest.raises(PeerMisbehaved, match="b: expected Refusal, got another") as error:
        decode(Refusal, raw, "b")
    assert error.value.peer == "b"


def test_no_two_messages_share_a_tag():
    tags = [tag for tag, _ in FORMS.values()]
    assert tags == list(range(1, len(tags) + 1))


def test_no_message_module_reads_pickles():
    assert "pickle" not in vars(messages)
