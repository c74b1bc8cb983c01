import io

import fastavro
import pytest

from client.data.readers import avro
from client.data.readers.avro import read_avro
from common.errors import DataError

SCHEMA = {
    "type": "record",
    "name": "r",
    "fields": [{"name": "v", "type": {"type": "array", "items": "double"}}],
}


def write(path, records, schema=SCHEMA, codec="deflate"):
    with path.open("wb") as file:
        fastavro.writer(file, schema, records, codec=codec)
    return path


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_records_as_they_were_written(tmp_path, codec):
    records = [{"v": [1.0, 2.5]}, {"v": []}]
    assert list(read_avro(write(tmp_path / "a.avro", records, codec=codec))) == records


def test_what_a_block_unpacks_to_is_bounded(tmp_path, monkeypatch):
    path = write(tmp_path / "a.avro", [{"v": [0.0] * 100_000}])
    monkeypatch.setattr(avro, "MAX_BLOCK_BYTES", 10_000)
    with pytest.raises(DataError, match=r"a\.avro: a block of more than"):
        list(read_avro(path))


@pytest.mark.parametrize("items", ["null", {"type": "record", "name": "e", "fields": []}])
def test_lists_of_nothing_are_refused(tmp_path, items):
    schema = {**SCHEMA, "fields": [{"name": "v", "type": {"type": "array", "items": items}}]}
    path = write(tmp_path / "a.avro", [], schema, codec="null")
    endless = b"\x02\x0a\xfe\xff\xff\xff\x0f"
    path.write_bytes(path.read_bytes()[:-16] + endless)
    with pytest.raises(DataError, match="lists of something other than numbers"):
        list(read_avro(path))


def test_other_codecs_are_refused(tmp_path):
    path = write(tmp_path / "a.avro", [{"v": [1.0]}], codec="bzip2")
    with pytest.raises(DataError, match="codec 'bzip2'"):
        list(read_avro(path))


@pytest.mark.parametrize("cut", range(1, 200, 7))
def test_every_truncation_is_noticed(tmp_path, cut):
    path = write(tmp_path / "a.avro", [{"v": [1.0, 2.0]}])
    whole = path.read_bytes()
    path.write_bytes(whole[: max(len(whole) - cut, 1)])
    with pytest.raises(DataError, match=r"a\.avro"):
        list(read_avro(path))


def test_a_block_that_claims_more_records_than_bytes(tmp_path):
    path = write(tmp_path / "a.avro", [{"v": []}], codec="null")
    header, sync = path.read_bytes()[:-19], path.read_bytes()[-16:]
    many = io.BytesIO()
    many.write(header + b"\xfe\xff\xff\xff\x0f" + b"\x02" + b"\x00" + sync)
    path.write_bytes(many.getvalue())
    with pytest.raises(DataError, match=r"a\.avro: a block of \d+ records in 1 bytes"):
        list(read_avro(path))
