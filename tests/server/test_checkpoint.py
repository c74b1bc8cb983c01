"""A checkpoint is the old one or the new one, never half of each."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import ConfigError, EnvironmentFault
from server.checkpoint import (
    Checkpoint,
    Origin,
    alone,
    check_newest,
    check_origin,
    read_checkpoint,
    write_checkpoint,
)
from server.optimizer import OptimizerState

ROOT = Path(__file__).resolve().parents[2]


def checkpoint_of(seed=0, round_=3):
    rng = np.random.default_rng(seed)

    def arrays():
        return {"encoders.a.weight": rng.normal(size=(4, 3)).astype(np.float32), "b": np.ones(2)}

    arrays32 = [{n: v.astype(np.float32) for n, v in arrays().items()} for _ in range(3)]
    model, first, second = arrays32
    history = ({"event": "round", "round": 1, "metrics": {"uar": {"value": 0.5}}},)
    return Checkpoint(round_, model, OptimizerState(7, first, second), history)


def equal(a: Checkpoint, b: Checkpoint) -> bool:
    pairs = [(a.model, b.model), (a.optimizer.first, b.optimizer.first)]
    pairs.append((a.optimizer.second, b.optimizer.second))
    same = all(set(x) == set(y) and all(np.array_equal(x[n], y[n]) for n in x) for x, y in pairs)
    plain = (a.round, a.optimizer.step, a.history) == (b.round, b.optimizer.step, b.history)
    return same and plain


def test_a_checkpoint_reads_back(tmp_path):
    write_checkpoint(tmp_path / "c", checkpoint_of())
    assert equal(read_checkpoint(tmp_path / "c"), checkpoint_of())


def test_a_checkpoint_of_a_first_round_has_no_optimizer_state(tmp_path):
    first = Checkpoint(0, {"w": np.zeros((2, 2), np.float32)}, OptimizerState())
    write_checkpoint(tmp_path / "c", first)
    assert equal(read_checkpoint(tmp_path / "c"), first)


def test_arrays_that_are_not_contiguous_read_back(tmp_path):
    value = np.arange(12, dtype=np.float32).reshape(3, 4).T
    write_checkpoint(tmp_path / "c", Checkpoint(1, {"w": value}, OptimizerState()))
    assert np.array_equal(read_checkpoint(tmp_path / "c").model["w"], value)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 400))
def test_a_truncated_file_is_refused(tmp_path, keep):
    path = tmp_path / "c"
    write_checkpoint(path, checkpoint_of())
    content = path.read_bytes()
    path.write_bytes(content[: min(keep, len(content) - 1)])
    with pytest.raises(ConfigError, match="is not a checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"\xff" * 64, b"PK\x03\x04", b'{"a": 1}'])
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(ConfigError, match="is not a checkpoint"):
        read_checkpoint(tmp_path / "c")
    with pytest.raises(ConfigError, match="is not a checkpoint"):
        read_checkpoint(tmp_path / "missing")


def test_a_model_file_is_no_checkpoint(tmp_path):
    from safetensors.numpy import save

    (tmp_path / "model.safetensors").write_bytes(save({"w": np.zeros(2)}))
    with pytest.raises(ConfigError):
        read_checkpoint(tmp_path / "model.safetensors")


def test_a_crash_before_the_replacement_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "c"
    write_checkpoint(path, checkpoint_of(round_=3))

    def crash(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(path, checkpoint_of(seed=1, round_=4))
    assert equal(read_checkpoint(path), checkpoint_of(round_=3))


def test_where_a_run_stands_reads_back(tmp_path):
    kept = replace(
        checkpoint_of(),
        pending="evaluate",
        origin=Origin("demo-1", "ab" * 32, "cd" * 32),
        resumed=2,
        heads='{"heads": []}',
    )
    write_checkpoint(tmp_path / "c", kept)
    found = read_checkpoint(tmp_path / "c")
    names = ("pending", "origin", "resumed", "heads")
    assert [getattr(found, n) for n in names] == [getattr(kept, n) for n in names]


def test_an_altered_value_is_refused(tmp_path):
    path = tmp_path / "c"
    write_checkpoint(path, checkpoint_of())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="was altered since it was written"):
        read_checkpoint(path)


def test_an_altered_word_is_refused(tmp_path):
    path = tmp_path / "c"
    write_checkpoint(path, replace(checkpoint_of(), origin=Origin("demo-1", "ab", "cd")))
    path.write_bytes(path.read_bytes().replace(b"demo-1", b"demo-2"))
    with pytest.raises(ConfigError, match="was altered since it was written"):
        read_checkpoint(path)


def test_another_study_and_another_roster_are_refused(tmp_path):
    mine = Origin("demo-1", "ab", "cd")
    kept = replace(checkpoint_of(), origin=mine)
    check_origin(kept, replace(mine, run="another name is no matter"), tmp_path)
    with pytest.raises(ConfigError, match="another study"):
        check_origin(kept, replace(mine, study="ff"), tmp_path)
    with pytest.raises(ConfigError, match="another roster"):
        check_origin(kept, replace(mine, roster="ff"), tmp_path)


def test_an_older_copy_is_refused(tmp_path):
    kept = checkpoint_of(round_=3)
    check_newest(kept, 3, tmp_path)
    with pytest.raises(ConfigError, match="ends with round 3, and round 4 was reported"):
        check_newest(kept, 4, tmp_path)


def test_two_processes_do_not_work_on_one_run(tmp_path):
    with (
        alone(tmp_path / "run"),
        pytest.raises(EnvironmentFault, match="still works on the run"),
        alone(tmp_path / "run", wait_s=0.1),
    ):
        pass
    with alone(tmp_path / "run", wait_s=0.1):
        pass
