"""Messages between coordinator and sites as Flower records; everything is bounded on the way in.

A message holds one ConfigRecord named "tacit" with exactly the fields of its stage, and, on the
way to the MASK stage, the public model as one ArrayRecord named "model". Anything else is
refused: there is no free field in which a number could leave a site.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from numpy.typing import NDArray

from common.errors import ProtocolError
from common.refusals import REFUSALS
from common.secagg.riding import JOINED

VERSION = 1
SINGLE = ("hello", "advertise", "share", "mask", "confirm", "unmask")
STAGES = (*SINGLE, *JOINED)
MESSAGE_TYPES = {stage: f"query.{stage.replace('+', '_')}" for stage in STAGES} | {
    "mask": "train.mask"
}
MAX_BODY_BYTES = (1 << 31) + (1 << 16)
MAX_TEXT_CHARS = 4096

Scalar = int | str | bytes

_REQUESTS: dict[str, dict[str, type]] = {
    "hello": {"version": int},
    **{stage: {"task": str, "body": bytes} for stage in STAGES[1:]},
}
_REPLIES: dict[str, dict[str, type]] = {
    "hello": {"version": int, "site": str},
    **{stage: {"body": bytes} for stage in STAGES[1:]},
}
_REFUSAL: dict[str, type] = {"refused": str}


@dataclass(frozen=True)
class Request:
    """What the coordinator asks of one site in one stage."""

    stage: str
    fields: Mapping[str, Scalar]
    model: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """What a site answers: the fields of the stage, or a refusal in one word."""

    fields: Mapping[str, Scalar] = field(default_factory=dict)
    refused: str = ""


def encode_request(request: Request) -> RecordDict:
    """A request as Flower records."""
    records = RecordDict({"tacit": ConfigRecord({**request.fields})})
    if request.model:
        arrays = {name: Array(np.asarray(value)) for name, value in request.model.items()}
        records["model"] = ArrayRecord(arrays)
    return records


def decode_request(stage: str, records: RecordDict) -> Request:
    """A request from Flower records.

    Raises:
        ProtocolError: an unknown stage, a field too many, too few, of another type or too long.
    """
    fields = _fields(records, _REQUESTS, stage, ("tacit", "model") if stage == "mask" else ())
    model: dict[str, NDArray[Any]] = {}
    if stage == "mask" and "model" in records.array_records:
        record = records.array_records["model"]
        model = {str(name): array.numpy() for name, array in record.items()}
    return Request(stage, fields, model)


def encode_reply(reply: Reply) -> RecordDict:
    """A reply as Flower records."""
    fields: Mapping[str, Scalar] = {"refused": reply.refused} if reply.refused else reply.fields
    return RecordDict({"tacit": ConfigRecord({**fields})})


def decode_reply(stage: str, records: RecordDict) -> Reply:
    """A reply from Flower records.

    Raises:
        ProtocolError: not exactly the fields of that stage's reply, nor a refusal.
    """
    record = records.config_records.get("tacit")
    if record is not None and "refused" in record:
        fields = _fields(records, {stage: _REFUSAL}, stage, ())
        if fields["refused"] not in REFUSALS:
            raise ProtocolError(f"{stage}: a refusal that is not one of {', '.join(REFUSALS)}.")
        return Reply(refused=str(fields["refused"]))
    return Reply(_fields(records, _REPLIES, stage, ()))


def _fields(
    records: RecordDict,
    schemas: Mapping[str, Mapping[str, type]],
    stage: str,
    also: tuple[str, ...],
) -> dict[str, Scalar]:
    if stage not in schemas:
        raise ProtocolError(f"There is no stage {stage!r}; expected one of {', '.join(STAGES)}.")
    extra = set(records) - {"tacit", *also}
    record = records.config_records.get("tacit")
    if extra or record is None:
        raise ProtocolError(f"{stage}: expected the record 'tacit' alone, found {sorted(records)}.")
    schema = schemas[stage]
    if set(record) != set(schema):
        raise ProtocolError(f"{stage}: expected fields {sorted(schema)}, found {sorted(record)}.")
    return {name: _scalar(stage, name, kind, record[name]) for name, kind in schema.items()}


def _scalar(stage: str, name: str, kind: type, value: object) -> Scalar:
    if type(value) is not kind:
        found = type(value).__name__
        raise ProtocolError(f"{stage}: {name} must be {kind.__name__}, found {found}.")
    if isinstance(value, bytes) and len(value) > MAX_BODY_BYTES:
        raise ProtocolError(f"{stage}: {name} is longer than {MAX_BODY_BYTES} bytes.")
    if isinstance(value, str) and len(value) > MAX_TEXT_CHARS:
        raise ProtocolError(f"{stage}: {name} is longer than {MAX_TEXT_CHARS} characters.")
    return cast("Scalar", value)
