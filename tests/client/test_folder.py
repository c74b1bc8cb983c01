"""A site's log: lines that stay here, in a file that does not grow for ever."""

import json

import client.folder
from client.folder import LOG, log


def test_a_log_that_grew_large_makes_place_for_a_new_one(tmp_path, monkeypatch):
    monkeypatch.setattr(client.folder, "LARGEST_LOG", 300)
    for number in range(22):
        log(tmp_path, "refused", number=number)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [LOG, f"{LOG}.1"]
    assert all(path.stat().st_size < 400 for path in tmp_path.iterdir())
    kept = [
        json.loads(line)["number"] for name in reversed(files) for line in lines(tmp_path, name)
    ]
    assert kept == list(range(kept[0], 22))
    assert (tmp_path / LOG).stat().st_mode & 0o777 == 0o600


def lines(folder, name):
    return (folder / name).read_text().splitlines()
