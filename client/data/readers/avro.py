"""Avro files block by block: what a block unpacks to is bounded before fastavro reads it.

A schema may describe values that take no bytes, so that a few bytes announce endless lists of
them; such schemas are refused.
"""

import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import fastavro

from client.data.readers.files import check_size
from common.errors import DataError

MAX_AVRO_BYTES = 1 << 28
MAX_BLOCK_BYTES = 1 << 28
MAX_HEADER_BYTES = 1 << 20
MAGIC = b"Obj\x01"
SIZED = {"boolean", "int", "long", "float", "double", "bytes", "string"}
MOST_DEPTH = 16


def read_avro(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of an Avro container file.

    Raises:
        DataError: when it is damaged, truncated, too large, or uses another codec than deflate.
    """
    check_size(path, MAX_AVRO_BYTES)
    try:
        with path.open("rb") as file:
            schema, codec, sync = _header(file)
            while count := file.read(1):
                file.seek(-1, 1)
                yield from _block(file, schema, codec, sync)
                del count
    except DataError as error:
        raise DataError(f"{path.name}: {error}") from None
    except (OSError, ValueError, KeyError, IndexError, TypeError, EOFError, MemoryError):
        raise DataError(f"{path.name}: not a readable Avro file") from None
    except (
        OverflowError,
        RecursionError,
        AttributeError,
        zlib.error,
        fastavro.schema.SchemaParseException,
    ):
        raise DataError(f"{path.name}: not a readable Avro file") from None


def _header(file: IO[bytes]) -> tuple[Any, str, bytes]:
    if file.read(4) != MAGIC:
        raise DataError("not an Avro file")
    meta: dict[str, bytes] = {}
    while count := _long(file):
        if count < 0:
            count = -count
            _long(file)
        for _ in range(min(count, 64)):
            key = _exactly(file, _long(file), MAX_HEADER_BYTES).decode("utf-8")
            meta[key] = _exactly(file, _long(file), MAX_HEADER_BYTES)
    codec = meta.get("avro.codec", b"null").decode("ascii", "replace")
    if codec not in ("null", "deflate"):
        raise DataError(f"codec {codec[:20]!r}; null and deflate are read")
    schema = json.loads(meta["avro.schema"])
    _check_schema(schema, 0)
    return fastavro.parse_schema(schema), codec, _exactly(file, 16, 16)


def _block(file: IO[bytes], schema: Any, codec: str, sync: bytes) -> Iterator[dict[str, Any]]:
    count, size_bytes = _long(file), _long(file)
    data = _exactly(file, size_bytes, MAX_BLOCK_BYTES)
    if codec == "deflate":
        unpacker = zlib.decompressobj(-15)
        data = unpacker.decompress(data, MAX_BLOCK_BYTES)
        if unpacker.unconsumed_tail or not unpacker.eof:
            raise DataError(f"a block of more than {MAX_BLOCK_BYTES / 1e6:,.0f} MB, or truncated")
    if _exactly(file, 16, 16) != sync:
        raise DataError("damaged between two blocks")
    if not 0 <= count <= len(data):
        raise DataError(f"a block of {count} records in {len(data)} bytes")
    stream = io.BytesIO(data)
    for _ in range(count):
        record = fastavro.schemaless_reader(stream, schema, None)
        if not isinstance(record, dict):
            raise DataError("expected records")
        yield record


def _check_schema(schema: Any, depth: int) -> None:
    """Refuse lists and maps of anything but numbers and text, and what is nested deeply."""
    if depth > MOST_DEPTH:
        raise DataError("its schema is nested too deeply")
    if isinstance(schema, list):
        for one in schema:
            _check_schema(one, depth + 1)
    elif isinstance(schema, dict):
        inner = schema.get("items", schema.get("values"))
        kind = inner.get("type") if isinstance(inner, dict) else inner
        if schema.get("type") in ("array", "map") and kind not in SIZED:
            raise DataError("its schema has lists of something other than numbers and text")
        if isinstance(schema.get("type"), dict | list):
            _check_schema(schema["type"], depth + 1)
        for field in schema.get("fields", ()):
            _check_schema(field, depth + 1)


def _long(file: IO[bytes]) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise DataError("truncated")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return (value >> 1) ^ -(value & 1)
    raise DataError("a number that is too long")


def _exactly(file: IO[bytes], count: int, most: int) -> bytes:
    if not 0 <= count <= most:
        raise DataError(f"{count} bytes announced; at most {most} are read")
    data = file.read(count)
    if len(data) != count:
        raise DataError("truncated")
    return data
