"""Features ahead of time: what is known is not redone, what changed is, and what broke is said."""

import json
import stat

import numpy as np
import pytest
from typer.testing import CliRunner

from client.data import ahead, extract
from client.data.ahead import extract_ahead, place_for
from client.data.commands import app
from client.data.encoders.folder import look_through
from client.data.encoders.frozen import Frozen
from client.data.load import load_site_data
from common.config import Modality, Study
from common.errors import ConfigError, DataError
from common.settings import to_yaml

WIDTH = 16
run = CliRunner()


@pytest.fixture
def corpus(table, make):
    """Three clips of sound, one with two windows, and their words."""
    path = table(
        "sample_id,person_id,audio,start_s,end_s,text,label",
        "a,p,a.wav,0,1,so glad,joy",
        "b,p,a.wav,1,2,,joy",
        "c,q,c.wav,,,much too sad,fear",
        "d,q,d.wav,,,,",
    )
    for name, hz in (("a", 100), ("c", 200), ("d", 300)):
        make.wav(path.parent / f"{name}.wav", make.tone(2.0, hz))
    return path


@pytest.fixture
def study(encoder_store):
    def build(**changes) -> Study:
        modalities = {}
        for modality, name in (("audio", "wavlm"), ("text", "roberta")):
            sha256 = look_through(encoder_store(name)).sha256
            options = {"model": name, "sha256": sha256, "dim": WIDTH}
            own = changes if modality == "audio" else {}
            modalities[modality] = Modality("encoder", options={**options, **own})
        return Study(name="frozen", classes=("joy", "fear"), modalities=modalities)

    return build


@pytest.fixture
def place(encoder_store, tmp_path):
    pairs = [f"{name}={encoder_store(name)}" for name in ("wavlm", "roberta")]
    return lambda study, manifest: place_for(study, manifest, cache=tmp_path / "kept", pairs=pairs)


@pytest.fixture
def again(corpus, place):
    """Extract, and say of each modality how many sources were known and how many were read."""

    def extracted(study):
        found = extract_ahead(study, corpus, place(study, corpus))
        found.refuse()
        return {name: (one.from_cache, one.computed) for name, one in found.modalities.items()}

    return extracted


def entries(tmp_path):
    return sorted((tmp_path / "kept").rglob("*.npz"))


def test_a_second_pass_reads_nothing(again, study, tmp_path, monkeypatch):
    assert again(study()) == {"audio": (0, 3), "text": (0, 2)}
    assert len(entries(tmp_path)) == 5
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in entries(tmp_path))
    monkeypatch.setattr(Frozen, "kind", property(lambda _: pytest.fail("the encoder was loaded")))
    assert again(study()) == {"audio": (3, 0), "text": (2, 0)}


def test_training_reads_what_was_extracted(again, study, corpus, place, monkeypatch):
    chosen = study()
    again(chosen)
    where = place(chosen, corpus)
    monkeypatch.setattr(Frozen, "kind", property(lambda _: pytest.fail("the encoder was loaded")))
    data = load_site_data(chosen, corpus, where.cache, labels=False, encoders=where.encoders)
    assert data.x["audio"].shape == data.x["text"].shape == (4, WIDTH)
    assert data.present_NM.tolist() == [[True, True], [True, False], [True, True], [True, False]]
    assert all(np.abs(data.x["audio"]).max(axis=1) > 0)
    assert not np.allclose(data.x["audio"][0], data.x["audio"][1])
    assert not data.x["text"][1].any()


@pytest.mark.parametrize("changes", [{"layer": 1}, {"pooling": "first"}, {"chunk_s": 2.0}])
def test_other_settings_are_extracted_anew(again, study, changes):
    again(study())
    assert again(study(**changes)) == {"audio": (0, 3), "text": (2, 0)}
    assert again(study()) == {"audio": (3, 0), "text": (2, 0)}


def test_another_recording_is_extracted_anew(again, study, corpus, make):
    again(study())
    make.wav(corpus.parent / "c.wav", make.tone(1.0, 210))
    assert again(study())["audio"] == (2, 1)


def test_other_words_are_extracted_anew(again, study, corpus):
    again(study())
    corpus.write_text(corpus.read_text().replace("so glad", "so very glad"))
    assert again(study())["text"] == (1, 1)


def test_other_weights_are_extracted_anew(again, study, corpus, copied, tmp_path):
    again(study())
    path = copied("wavlm")
    data = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    changed = study(sha256=look_through(path).sha256)
    only = Study(classes=("joy", "fear"), modalities={"audio": changed.modalities["audio"]})
    place = place_for(only, corpus, cache=tmp_path / "kept", pairs=[f"wavlm={path}"])
    found = extract_ahead(only, corpus, place)
    assert found.modalities["audio"].computed == 3


def bad_cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def bad_flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def bad_empty(path):
    path.write_bytes(b"")


def bad_forged(path):
    """Values of another's making, in a file that is whole: the seal does not fit."""
    with np.load(path, allow_pickle=False) as known:
        arrays = dict(known)
    np.savez(path, allow_pickle=False, **{**arrays, "values": arrays["values"] + 1})


@pytest.mark.parametrize("spoil", [bad_cut, bad_flipped, bad_empty, bad_forged])
def test_a_damaged_entry_is_made_anew(again, study, tmp_path, spoil):
    again(study())
    spoil(entries(tmp_path)[0])
    known = again(study())
    assert sum(read for _, read in known.values()) == 1
    assert again(study()) == {"audio": (3, 0), "text": (2, 0)}


def test_an_entry_under_another_key_is_not_believed(again, study, tmp_path):
    again(study())
    first, second = entries(tmp_path)[:2]
    second.write_bytes(first.read_bytes())
    assert sum(read for _, read in again(study()).values()) == 1


def test_an_interrupted_pass_goes_on_where_it_was(again, study, monkeypatch):
    kept, store = [], extract.store_cached

    def interrupted(folder, key, windows):
        store(folder, key, windows)
        kept.append(key)
        if len(kept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(extract, "store_cached", interrupted)
    with pytest.raises(KeyboardInterrupt):
        again(study())
    monkeypatch.setattr(extract, "store_cached", store)
    assert again(study()) == {"audio": (2, 1), "text": (0, 2)}


def test_many_windows_of_one_recording_are_kept_by_and_by(table, make, place, study, monkeypatch):
    rows = [f"s{k},p,x.wav,{k / 100:.2f},{k / 100 + 0.3:.2f},joy" for k in range(300)]
    path = table("sample_id,person_id,audio,start_s,end_s,label", *rows)
    make.wav(path.parent / "x.wav", make.tone(4.0))
    chosen = Study(classes=("joy", "fear"), modalities={"audio": study().modalities["audio"]})
    monkeypatch.setattr(ahead, "Pass", lambda *_: pytest.fail("it was to be interrupted"))
    sizes, store = [], extract.store_cached

    def counted(folder, key, windows):
        store(folder, key, windows)
        sizes.append(len(windows))
        if len(sizes) == 3:
            raise KeyboardInterrupt

    where = place(Study(classes=("joy", "fear"), modalities=study().modalities), path)
    monkeypatch.setattr(extract, "store_cached", counted)
    with pytest.raises(KeyboardInterrupt):
        extract_ahead(chosen, path, where)
    assert sizes == [44, 108, 172]
    monkeypatch.setattr(extract, "store_cached", lambda *args: (store(*args), sizes.append(0)))
    data = load_site_data(chosen, path, where.cache, encoders=where.encoders)
    assert sizes[3:] == [0, 0]
    assert np.abs(data.x["audio"]).max(axis=1).all()


def test_an_encoder_is_needed_only_where_a_clip_has_its_modality(study, table, make):
    path = table("sample_id,person_id,audio,text,label", "a,p,,so glad,joy", "b,q,x.wav,,fear")
    make.wav(path.parent / "x.wav", make.tone(1.0))
    with pytest.raises(ConfigError, match="no encoder 'wavlm'"):
        load_site_data(study(), path)
    assert not load_site_data(study(), path, reads=()).x["audio"].any()
    path.write_text("sample_id,person_id,audio,text,image,label\na,p,,,,joy\n")
    assert load_site_data(study(), path).x["text"].shape == (1, WIDTH)


def test_what_made_the_features_lies_beside_them(again, study, tmp_path, encoder_store):
    again(study())
    records = sorted((tmp_path / "kept" / "encoders").iterdir())
    assert [path.name.partition("-")[0] for path in records] == ["roberta", "wavlm"]
    said = json.loads(records[1].read_text())
    found = look_through(encoder_store("wavlm"))
    assert (said["sha256"], said["licence"]) == (found.sha256, "mit")
    assert said["files"] == dict(found.files)
    assert stat.S_IMODE(records[1].stat().st_mode) == 0o600


def test_every_recording_that_cannot_be_read_is_named_and_the_others_are_kept(
    study, corpus, place, make
):
    (corpus.parent / "a.wav").write_bytes(b"RIFF....WAVE")
    (corpus.parent / "d.wav").write_bytes(b"no sound")
    chosen = study()
    found = extract_ahead(chosen, corpus, place(chosen, corpus))
    audio = found.modalities["audio"]
    assert (audio.computed, audio.failed, audio.clips) == (1, 2, 4)
    with pytest.raises(DataError) as refusal:
        found.refuse()
    assert "manifest.csv:2: audio: a.wav" in str(refusal.value)
    assert "manifest.csv:5: audio: d.wav" in str(refusal.value)


class TestCommand:
    @pytest.fixture
    def typed(self, corpus, study, encoder_store, tmp_path, monkeypatch):
        path = tmp_path / "frozen.yaml"
        path.write_text(to_yaml(study()))
        monkeypatch.setenv("TACIT_ENCODERS", str(encoder_store("wavlm").parent))
        encoder_store("roberta")
        return ["features", str(corpus), "--study", str(path)]

    def test_json_is_all_that_is_printed(self, typed, corpus):
        for known in (0, 3):
            found = run.invoke(app, [*typed, "--json"])
            assert found.exit_code == 0, found.output
            said = json.loads(found.stdout)
            assert said["modalities"]["audio"]["from_cache"] == known
            assert said["modalities"]["audio"]["encoder"]["licence"] == "mit"
            assert said["cache"] == str(corpus.parent / ".features")
            assert said["problems"] == []

    def test_a_table_for_people(self, typed):
        found = run.invoke(app, typed)
        assert found.exit_code == 0
        assert "audio_encoder" in found.stdout
        assert "licence mit" in found.stdout

    def test_bad_recordings_are_bad_input(self, typed, corpus):
        (corpus.parent / "c.wav").write_bytes(b"no sound")
        found = run.invoke(app, typed)
        assert isinstance(found.exception, DataError)
        assert "manifest.csv:4" in str(found.exception)

    def test_an_encoder_that_was_not_said(self, typed, monkeypatch):
        monkeypatch.delenv("TACIT_ENCODERS")
        found = run.invoke(app, typed)
        assert isinstance(found.exception, ConfigError)
        assert "--encoder" in str(found.exception)

    @pytest.mark.parametrize("pair", ["wavlm", "wavlm=", "other=/tmp"])
    def test_a_pair_that_is_none(self, typed, pair):
        found = run.invoke(app, [*typed, "--encoder", pair])
        assert isinstance(found.exception, ConfigError)
        assert "NAME=FOLDER" in str(found.exception)

    def test_an_encoders_folder(self, encoder_store):
        path = encoder_store("wavlm")
        found = run.invoke(app, ["encoder", str(path), "--json"])
        assert json.loads(found.stdout)["sha256"] == look_through(path).sha256
        printed = run.invoke(app, ["encoder", str(path)], env={"COLUMNS": "120"}).stdout
        assert look_through(path).sha256 in printed
