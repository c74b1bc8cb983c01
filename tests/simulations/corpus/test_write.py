import csv
import hashlib
import json
import shutil

import numpy as np
import pytest
import soundfile
from PIL import Image

from common.errors import ConfigError
from simulations.corpus import read_corpus, write_corpus
from simulations.corpus.latent import CLASSES

SMALL = {"seed": 3, "sites": 4, "persons_per_site": 5, "clips_per_person": 5}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("corpus") / "small"
    return out, write_corpus(out, **SMALL)


def rows_of(out, site):
    with (out / "sites" / site.name / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def all_rows(corpus):
    out, report = corpus
    return [(out / "sites" / site.name, row) for site in report.sites for row in rows_of(out, site)]


def digests(out):
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return {str(f.relative_to(out)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_equal_settings_give_equal_bytes(corpus, tmp_path):
    write_corpus(tmp_path / "again", **SMALL)
    assert digests(tmp_path / "again") == digests(corpus[0])


def test_another_seed_gives_another_corpus(corpus, tmp_path):
    write_corpus(tmp_path / "other", **(SMALL | {"seed": 4}))
    audio = [name for name in digests(corpus[0]) if name.endswith(".wav")]
    other = digests(tmp_path / "other")
    assert all(digests(corpus[0])[name] != other.get(name) for name in audio[:5])


def test_an_equal_corpus_is_left_as_it_is(corpus):
    out, report = corpus
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert write_corpus(out, **SMALL) == report
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_what_was_told_is_read_back(corpus):
    out, report = corpus
    assert read_corpus(out) == report
    assert report.clips == sum(len(rows_of(out, site)) for site in report.sites)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"not written by .* Nothing was changed"):
        write_corpus(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_corpus_of_other_settings_is_left_alone(corpus):
    with pytest.raises(ConfigError, match="remove the folder, or name another one"):
        write_corpus(corpus[0], **(SMALL | {"seed": 9}))


def test_a_corpus_by_an_older_version_is_replaced(corpus, tmp_path):
    out = tmp_path / "old"
    shutil.copytree(corpus[0], out)
    told = json.loads((out / "corpus.json").read_text())
    told["settings"]["version"] -= 1
    (out / "corpus.json").write_text(json.dumps(told))
    (out / "sites" / "aspen" / "manifest.csv").write_text("out of date")
    assert write_corpus(out, **SMALL) == corpus[1]
    assert digests(out) == digests(corpus[0])
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_nothing_stays_behind_when_writing_is_broken_off(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("simulations.corpus.write._write_person", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_corpus(tmp_path / "broken", **SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["sites", "persons_per_site", "clips_per_person"])
def test_numbers_that_are_too_small_are_refused(tmp_path, name):
    with pytest.raises(ConfigError, match=f"{name} of at least"):
        write_corpus(tmp_path / "none", **(SMALL | {name: 0}))


def test_every_file_that_a_manifest_names_is_there_and_whole(corpus):
    for folder, row in all_rows(corpus):
        samples_N, rate_hz = soundfile.read(folder / row["audio"])
        assert (rate_hz, samples_N.shape) == (16_000, (24_000,))
        header, first, *_, last = (folder / row["physio"]).read_text().splitlines()
        assert header == "bvp@64,eda@4,temp@4,acc_x@32,acc_y@32,acc_z@32"
        assert all(map(float, first.split(",")))
        assert last.endswith(",,,,,")
        if row["video"]:
            frames = sorted((folder / row["video"]).iterdir())
            assert [frame.name for frame in frames] == [f"frame_{n:02d}.png" for n in range(4)]
            assert all(Image.open(frame).size == (40, 40) for frame in frames)


def test_a_person_is_in_one_split_and_at_one_site(corpus):
    places = {(row["person_id"], folder.name, row["split"]) for folder, row in all_rows(corpus)}
    assert len(places) == len({person for person, _, _ in places})
    assert {split for _, _, split in places} == {"train", "test"}
    for site in corpus[1].sites:
        assert min(site.persons.values()) > 0


def test_sites_are_uneven_and_some_lack_video_and_some_clips_lack_text(corpus):
    _, report = corpus
    persons = [sum(site.persons.values()) for site in report.sites]
    assert max(persons) >= 2 * min(persons)
    assert any("video" not in site.modalities for site in report.sites)
    assert any("video" in site.modalities for site in report.sites)
    without = np.mean([row["text"] == "" for _, row in all_rows(corpus)])
    assert 0.02 < without < 0.4


def test_presence_says_nothing_about_the_label(corpus):
    rows = [row for _, row in all_rows(corpus)]
    counts = [sum(row["label"] == name for row in rows) for name in CLASSES]
    assert max(counts) - min(counts) <= 1
    with_video = [sum(r["label"] == name for r in rows if r["video"]) for name in CLASSES]
    assert max(with_video) - min(with_video) <= 1
