import stat
from datetime import date

import numpy as np
import pytest

from client.data.cache import cache_key
from client.data.load import load_site_data
from client.data.normalise import shrunken_z
from common.config import Modality, Study
from common.errors import ConfigError, DataError

HEADER = "sample_id,person_id,audio,text,features_a,label,split"


@pytest.fixture
def site(table, make):
    path = table(
        HEADER,
        'b,p2,b.wav,hello there,"[1, 2, 3]",fear,train',
        'a,p1,a.wav,,"[4, 5, 6]",joy,test',
        "c,p2,,so it goes,,fear,train",
    )
    make.wav(path.parent / "a.wav", make.tone(1.0))
    make.wav(path.parent / "b.wav", make.tone(1.2, hz=220))
    return path


@pytest.fixture
def three(study):
    return study(audio={}, text={"dim": 32}, features_a={"dim": 3})


def test_arrays_follow_the_manifest(site, three):
    data = load_site_data(three, site)
    assert list(data.x) == ["audio", "features_a", "text"]
    assert {name: values.shape for name, values in data.x.items()} == {
        "audio": (3, 432),
        "features_a": (3, 3),
        "text": (3, 32),
    }
    assert data.present_NM.tolist() == [[1, 1, 1], [1, 1, 0], [0, 0, 1]]
    assert data.y_NC.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert data.person_ids == ("p1", "p2")
    assert data.person_N.tolist() == [1, 0, 1]
    assert data.sample_ids == ("b", "a", "c")
    assert data.split_N.tolist() == ["train", "test", "train"]
    assert all(values.dtype == np.float32 for values in data.x.values())
    assert not data.x["audio"][2].any()
    assert not data.x["text"][1].any()


def test_chosen_clips_keep_their_persons(site, three):
    data = load_site_data(three, site)
    train = data.take(data.split_N == "train")
    assert (len(train), train.sample_ids) == (2, ("b", "c"))
    assert [train.person_ids[i] for i in train.person_N] == ["p2", "p2"]
    assert data.take(np.array([2, 0])).sample_ids == ("c", "b")


def test_a_modality_that_the_site_lacks_is_zeros(site, study):
    data = load_site_data(study(text={"dim": 8}, image={}), site)
    assert data.x["image"].shape == (3, 1, 32, 32)
    assert not data.present_NM[:, 0].any()


def test_group_columns_and_their_order_have_no_effect(table, three, make):
    """Group columns never reach a model: permuted, they leave every array as it was."""
    rows = [("a", "p1"), ("b", "p1"), ("c", "p2"), ("d", "p3")]

    def load(groups):
        lines = [
            f'{s},{p},,word {s},"[1, 2, 3]",joy,,{g}'
            for (s, p), g in zip(rows, groups, strict=True)
        ]
        return load_site_data(three, table(HEADER + ",group_sex", *lines))

    plain = load(["m", "f", "m", "f"])
    for groups in (["f", "m", "f", "m"], ["", "x", "9", "m"]):
        permuted = load(groups)
        for name, values in plain.x.items():
            assert (values == permuted.x[name]).all()
        assert (plain.y_NC == permuted.y_NC).all()
        assert (plain.person_N == permuted.person_N).all()
    assert not any("group" in field for field in vars(plain))


def test_every_broken_recording_is_reported_with_its_line(site, three):
    (site.parent / "a.wav").write_bytes(b"broken")
    (site.parent / "b.wav").write_bytes(b"")
    with pytest.raises(DataError) as refusal:
        load_site_data(three, site)
    first, second = str(refusal.value).splitlines()
    assert first.startswith(f"{site}:2: audio: b.wav: ")
    assert second.startswith(f"{site}:3: audio: a.wav: ")


def test_labels_may_be_absent_for_prediction(table, study):
    path = table("sample_id,person_id,text", "a,p,hello")
    data = load_site_data(study(text={"dim": 8}), path, labels=False)
    assert data.y_NC.tolist() == [[0, 0]]
    with pytest.raises(DataError, match="label column"):
        load_site_data(study(text={"dim": 8}), path)


def test_consent_is_held_against_the_studys_purpose_and_the_day(table, study):
    path = table(
        "sample_id,person_id,text,label,consent_scope,consent_until",
        "a,p1,hello,joy,research,2030-01-01",
        "b,p2,hello,joy,care,2030-01-01",
    )
    text = study(text={"dim": 8})
    assert load_site_data(text, path, today=date(2026, 1, 1)).sample_ids == ("a",)
    with pytest.raises(DataError, match="consent has run out"):
        load_site_data(text, path, today=date(2031, 1, 1))


def test_an_unknown_normalisation_is_refused(site, study):
    with pytest.raises(ConfigError, match="expected one of none, person, federated"):
        load_site_data(study(normalise="site", text={"dim": 8}), site)


class TestCache:
    def test_the_second_load_reads_features_only(self, site, three, tmp_path, monkeypatch):
        first = load_site_data(three, site, tmp_path / "cache")
        files = [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
        assert len(files) == 2
        assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in files)
        monkeypatch.setattr(
            "client.data.features.speech.read_audio", lambda *_: pytest.fail("decoded again")
        )
        again = load_site_data(three, site, tmp_path / "cache")
        assert all((first.x[name] == again.x[name]).all() for name in first.x)

    def test_another_recording_under_the_same_name_is_read_anew(self, site, three, tmp_path, make):
        first = load_site_data(three, site, tmp_path / "cache")
        make.wav(site.parent / "a.wav", make.tone(1.0, hz=300))
        second = load_site_data(three, site, tmp_path / "cache")
        assert (first.x["audio"][0] == second.x["audio"][0]).all()
        assert (first.x["audio"][1] != second.x["audio"][1]).any()

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"\0" * 100])
    def test_a_damaged_entry_is_made_anew(self, site, three, tmp_path, content):
        first = load_site_data(three, site, tmp_path / "cache")
        for path in (tmp_path / "cache").rglob("*.npz"):
            path.write_bytes(content)
        again = load_site_data(three, site, tmp_path / "cache")
        assert (first.x["audio"] == again.x["audio"]).all()

    def test_windows_of_one_file_are_kept_apart(self, table, study, make, tmp_path):
        path = table(
            "sample_id,person_id,audio,start_s,end_s,label",
            "a,p,x.wav,0,1,joy",
            "b,p,x.wav,1,2,joy",
            "c,p,x.wav,0,1,joy",
        )
        both = np.concatenate([make.tone(1.0, hz=100), make.tone(1.0, hz=300)])
        make.wav(path.parent / "x.wav", both)
        for _ in range(2):
            x = load_site_data(study(audio={}), path, tmp_path / "cache").x["audio"]
            assert (x[0] == x[2]).all()
            assert (x[0] != x[1]).any()
        assert len(list((tmp_path / "cache").rglob("*.npz"))) == 1

    def test_everything_that_shapes_a_feature_is_in_the_key(self):
        keys = {
            cache_key("hash", "logmel", 1, {"frames": 4}),
            cache_key("hash2", "logmel", 1, {"frames": 4}),
            cache_key("hash", "speech", 1, {"frames": 4}),
            cache_key("hash", "logmel", 2, {"frames": 4}),
            cache_key("hash", "logmel", 1, {"frames": 5}),
        }
        assert len(keys) == 5

    def test_no_cache_leaves_no_file(self, site, three):
        before = sorted(site.parent.iterdir())
        load_site_data(three, site)
        assert sorted(site.parent.iterdir()) == before


class TestPersonNormalisation:
    def rows(self, persons, clips=12, seed=0):
        rng = np.random.default_rng(seed)
        for person in range(persons):
            for clip in range(clips):
                a, b, c = 1.5 * person + rng.standard_normal(3)
                yield f'{person}-{clip},p{person},word,"[{a}, {b}, {c}]",joy'

    def test_each_person_has_zero_mean_and_unit_size_and_text_is_left(self, table, study):
        path = table("sample_id,person_id,text,features_a,label", *self.rows(3))
        plain, normal = (
            load_site_data(study(n, text={"dim": 8}, features_a={"dim": 3}), path)
            for n in ("none", "person")
        )
        for person in range(3):
            mine = normal.x["features_a"][normal.person_N == person]
            assert np.abs(mine.mean(axis=0)).max() < 0.6
            assert mine.std() == pytest.approx(1.0, abs=0.35)
        assert np.abs(plain.x["features_a"][plain.person_N == 1]).mean() > 1.2
        assert (plain.x["text"] == normal.x["text"]).all()

    def test_other_persons_and_labels_play_no_part(self, table, study):
        wish = study("person", features_a={"dim": 3})
        rows = list(self.rows(3))
        header = "sample_id,person_id,text,features_a,label"
        whole = load_site_data(wish, table(header, *rows))
        alone = load_site_data(wish, table(header, *rows[:12]))
        assert (whole.x["features_a"][:12] == alone.x["features_a"]).all()
        changed = load_site_data(wish, table(header, *[r.replace("joy", "fear") for r in rows]))
        assert (whole.x["features_a"] == changed.x["features_a"]).all()

    def test_absent_clips_stay_zero_and_are_not_counted(self, table, study):
        rows = [*self.rows(1), "x,p0,word,,joy"]
        header = "sample_id,person_id,text,features_a,label"
        wish = study("person", features_a={"dim": 3}, text={"dim": 8})
        with_absent = load_site_data(wish, table(header, *rows))
        without = load_site_data(wish, table(header, *rows[:-1]))
        assert not with_absent.x["features_a"][-1].any()
        assert (with_absent.x["features_a"][:-1] == without.x["features_a"]).all()

    def test_a_single_clip_keeps_half_of_its_deviation(self):
        one = shrunken_z(np.array([[2.0, -4.0]], dtype=np.float32))
        assert np.sign(one).tolist() == [[1, -1]]
        assert np.isfinite(one).all()

    def test_sequences_are_normalised_over_clips_and_time(self):
        x = np.random.default_rng(0).normal(5, 3, (200, 7, 2)).astype(np.float32)
        z = shrunken_z(x)
        assert np.abs(z.mean(axis=(0, 1))).max() < 0.05
        assert z.std(axis=(0, 1)) == pytest.approx(1.0, abs=0.05)


def test_slow_reading_shows_progress_on_a_terminal_only(table, study, capfd):
    lines = [f"s{i},p{i},t{i}.txt,joy" for i in range(60)]
    path = table("sample_id,person_id,text,label", *lines)
    for i in range(60):
        (path.parent / f"t{i}.txt").write_text(f"text {i}")
    load_site_data(study(text={"dim": 8}), path)
    out, err = capfd.readouterr()
    assert (out, err.strip()) == ("", "")


def test_options_reach_the_front_end(site):
    study = Study(
        classes=("joy", "fear"),
        modalities={"audio": Modality(front_end="logmel", options={"frames": 5, "bands": 9})},
    )
    assert load_site_data(study, site).x["audio"].shape == (3, 5, 9)
