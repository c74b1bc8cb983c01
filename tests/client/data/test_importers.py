import json

import numpy as np
import pandas as pd
import pytest

from client.data.importers import import_corpus
from client.data.importers.stress_predict import windows
from client.data.importers.writing import Clip, Corpus, write_sites
from client.data.load import load_site_data
from common.errors import ConfigError, DataError
from common.settings import load_study


def manifest(out, site):
    return pd.read_csv(out / "sites" / site / "manifest.csv", dtype=str, keep_default_na=False)


def votes(folder, persons):
    rng = np.random.default_rng(0)
    names = [f"{v}_{c}" for v in ("voice", "face", "multi") for c in (*"ABCDE", "n")]
    names = [
        f"{view}_{column}"
        for view in ("voice", "face", "multi")
        for column in (*(f"vote_{e}" for e in "ADFHNS"), "n")
    ]
    rows = [
        {
            "sample_id": f"{person}_{label}",
            "subject_id": person,
            "label": label,
            **dict(zip(names, rng.random(len(names)), strict=True)),
            "actor_age": 40,
            "actor_sex": "Female",
            "actor_race": "Asian",
        }
        for person in persons
        for label in ("anger", "sad")
    ]
    folder.mkdir()
    pd.DataFrame(rows).to_parquet(folder / "cremad_votes.parquet")
    return pd.DataFrame(rows)


class TestCremadVotes:
    def test_sites_groups_and_no_answer_among_the_inputs(self, tmp_path):
        frame = votes(tmp_path / "in", ["1001", "1002", "1003"])
        sites = {"sites": {"north": ["1001", "1003"], "south": ["1002"]}}
        (tmp_path / "in" / "sites.json").write_text(json.dumps(sites))
        report = import_corpus("cremad_votes", tmp_path / "in", tmp_path / "out")
        assert report.rows == {"north": 4, "south": 2}
        assert (report.persons, report.unplaced) == (3, 0)
        north = manifest(tmp_path / "out", "north")
        assert set(north.columns) == {
            *("sample_id", "person_id", "label", "features_voice", "features_face"),
            *("group_age", "group_sex", "group_race"),
        }
        assert json.loads(north["features_voice"][0]) == pytest.approx(
            frame.filter(regex="^voice").iloc[0].tolist(), abs=1e-5
        )
        data = load_site_data(load_study("cremad_votes"), report.manifests[0])
        assert data.x["features_face"].shape == (4, 7)

    def test_other_persons_without_sites_are_one_site(self, tmp_path):
        votes(tmp_path / "in", ["2001"])
        assert import_corpus("cremad_votes", tmp_path / "in", tmp_path / "a").rows == {"site_0": 2}
        named = import_corpus("cremad_votes", tmp_path / "in", tmp_path / "b", site="held out")
        assert named.rows == {"held_out": 2}

    def test_persons_that_no_site_has_are_counted(self, tmp_path):
        votes(tmp_path / "in", ["1001", "1002"])
        (tmp_path / "in" / "sites.json").write_text('{"sites": {"a": ["1001"]}}')
        report = import_corpus("cremad_votes", tmp_path / "in", tmp_path / "out")
        assert (report.rows, report.unplaced) == ({"a": 2}, 2)


class TestRavdess:
    def folder(self, tmp_path, make, suffix="wav"):
        for name in ("03-01-01-01-01-01-05", "03-01-08-02-01-02-12", "03-02-08-02-01-02-12"):
            actor = tmp_path / "in" / f"Actor_{name[-2:]}"
            make.wav(actor / f"{name}.{suffix}", make.tone(0.5))
        (tmp_path / "in" / "notes.wav").write_text("not a clip")
        return tmp_path / "in"

    def test_labels_come_from_the_names(self, tmp_path, make):
        report = import_corpus("ravdess", self.folder(tmp_path, make), tmp_path / "out")
        rows = manifest(tmp_path / "out", "site_0")
        assert rows[["person_id", "label", "group_sex"]].values.tolist() == [
            ["A05", "neutral", "male"],
            ["A12", "surprised", "female"],
        ]
        data = load_site_data(load_study("ravdess"), report.manifests[0])
        assert data.present_NM.all()

    def test_persons_are_dealt_to_as_many_sites_as_are_asked_for(self, tmp_path, make):
        report = import_corpus("ravdess", self.folder(tmp_path, make), tmp_path / "out", sites=2)
        assert report.rows == {"site_0": 1, "site_1": 1}
        assert manifest(tmp_path / "out", "site_1")["person_id"].tolist() == ["A12"]

    def test_more_sites_than_persons_or_a_site_besides_are_refused(self, tmp_path, make):
        source = self.folder(tmp_path, make)
        with pytest.raises(DataError, match="2 persons cannot be dealt to 3 sites"):
            import_corpus("ravdess", source, tmp_path / "out", sites=3)
        with pytest.raises(ConfigError, match="one of them, not both"):
            import_corpus("ravdess", source, tmp_path / "out", "clinic", sites=2)

    def test_media_are_links_inside_the_folder_and_no_copies(self, tmp_path, make):
        source = self.folder(tmp_path, make)
        import_corpus("ravdess", source, tmp_path / "out")
        clip = tmp_path / "out/sites/site_0/audio/03-01-01-01-01-01-05.wav"
        assert not clip.is_symlink()
        assert clip.samefile(source / "Actor_05" / clip.name)
        import_corpus("ravdess", source, tmp_path / "out")

    def test_where_links_are_not_possible_media_are_copied(self, tmp_path, make, monkeypatch):
        def refuse(*_):
            raise OSError("another file system")

        monkeypatch.setattr("os.link", refuse)
        report = import_corpus("ravdess", self.folder(tmp_path, make), tmp_path / "out")
        assert load_site_data(load_study("ravdess"), report.manifests[0]).present_NM.all()

    def test_a_folder_without_clips(self, tmp_path):
        (tmp_path / "in").mkdir()
        with pytest.raises(DataError, match="no file named like"):
            import_corpus("ravdess", tmp_path / "in", tmp_path / "out")


class TestStressPredict:
    def folder(self, tmp_path, seconds=240, **extra):
        rng = np.random.default_rng(0)
        (tmp_path / "in" / "signals").mkdir(parents=True)
        for person in ("S01", "S02"):
            np.savez(
                tmp_path / "in" / "signals" / f"{person}.npz",
                bvp=rng.integers(-300, 300, seconds * 64).astype(np.int16),
                eda=rng.random(seconds * 4).astype(np.float32),
                temp=np.full(seconds * 4, 33, np.float16),
                acc=np.tile(np.array([0, 0, 64], np.int8), (seconds * 32, 1)),
                hr=np.full(seconds, 80, np.float32),
                resp=np.full(seconds, 14, np.float16),
                label=(np.arange(seconds) >= 120).astype(np.int8),
                t0=np.int64(1_600_000_000),
            )
        return tmp_path / "in"

    def test_windows_and_units_without_label_or_clock_beside_the_signals(self, tmp_path):
        report = import_corpus("stress_predict", self.folder(tmp_path), tmp_path / "out")
        rows = manifest(tmp_path / "out", "site_0")
        assert rows.columns.tolist() == [
            "sample_id",
            "person_id",
            "physio",
            "start_s",
            "end_s",
            "label",
        ]
        mine = rows[rows["person_id"] == "S01"]
        assert mine["start_s"].tolist() == ["0", "30", "60", "120", "150", "180"]
        assert mine["label"].tolist() == ["baseline"] * 3 + ["stress"] * 3
        assert mine["sample_id"][0] == "S01_00000"
        with np.load(tmp_path / "out/sites/site_0/signals/S01.npz") as stored:
            assert set(stored) == {"bvp@64", "eda@4", "temp@4", "acc@32", "hr@1", "resp@1"}
            assert stored["acc@32"][0].tolist() == [0, 0, 1]
            assert np.abs(stored["bvp@64"]).max() <= 30
        data = load_site_data(load_study("stress_predict"), report.manifests[0])
        assert data.present_NM.all()

    def test_windows_across_a_change_are_left_out(self):
        label = np.zeros(200, np.int8)
        label[84:] = 1
        assert list(windows(label)) == [(0, 0), (30, 0), (90, 1), (120, 1)]
        label[83] = 1
        assert (30, 0) not in list(windows(label))

    def test_a_recording_without_labels(self, tmp_path):
        (tmp_path / "in" / "signals").mkdir(parents=True)
        np.savez(tmp_path / "in/signals/S01.npz", eda=np.ones(400))
        with pytest.raises(DataError, match="expected arrays label"):
            import_corpus("stress_predict", tmp_path / "in", tmp_path / "out")


class TestMeld:
    def folder(self, tmp_path, clients=True):
        rows = [
            ("train_1", "train", "joey", "season1_Mr. Joey", "How you doin'?", "joy"),
            ("train_2", "train", "carol", "season1_Carol", "No.", "anger"),
            ("train_3", "train", "nobody", "season9_Nobody", "Hm.", "neutral"),
            ("train_4", "train", "joey", "season1_Mr. Joey", "Wow", "surprise"),
            ("dev_1", "dev", "joey", "season1_Mr. Joey", 'He said "hi",\nthen left', "sadness"),
            ("dev_2", "dev", "nobody", "season9_Nobody", "Oh.", "neutral"),
        ]
        names = ["sample_id", "split", "subject_id", "fm_client", "text", "label"]
        frame = pd.DataFrame(rows, columns=names)
        prosody = ("duration", "avg_intensity", "intensity_variation", "avg_pitch", "pitch_std")
        for name in (*prosody, "pitch_range", "articulation_rate", "mean_hnr"):
            frame[f"audio_{name}"] = [1.5, np.nan, 2.0, 3.0, 4.0, 5.0]
        (tmp_path / "in").mkdir()
        frame.to_parquet(tmp_path / "in" / "meld.parquet")
        if clients:
            listed = {"fedmultimodal_train_clients": ["season1_Mr. Joey", "season1_Carol"]}
            (tmp_path / "in" / "clients.json").write_text(json.dumps(listed))
        return tmp_path / "in"

    def test_clients_are_sites_and_validation_is_placed_too(self, tmp_path):
        report = import_corpus("meld", self.folder(tmp_path), tmp_path / "out")
        assert set(report.rows) == {"season1_Mr_Joey", "season1_Carol"}
        assert (sum(report.rows.values()), report.unplaced) == (4, 1)
        rows = manifest(tmp_path / "out", "season1_Mr_Joey").set_index("sample_id")
        assert rows["person_id"]["train_1"] == "train/joey"
        assert rows["person_id"]["dev_1"] == "validation/joey"
        assert rows["split"]["dev_1"] == "validation"
        assert rows["text"]["dev_1"] == 'He said "hi",\nthen left'
        for path in report.manifests:
            load_site_data(load_study("meld"), path)

    def test_without_clients_all_is_one_site(self, tmp_path):
        report = import_corpus("meld", self.folder(tmp_path, clients=False), tmp_path / "out")
        assert report.rows == {"site_0": 5}

    def test_missing_prosody_is_null(self, tmp_path):
        import_corpus("meld", self.folder(tmp_path, clients=False), tmp_path / "out")
        rows = manifest(tmp_path / "out", "site_0").set_index("sample_id")
        assert set(json.loads(rows["features_prosody"]["train_2"])) == {None}


def test_unknown_presets_and_sources(tmp_path):
    with pytest.raises(ConfigError, match="known: bids_physio, cmu_mosei"):
        import_corpus("emodb", tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match="no such folder"):
        import_corpus("meld", tmp_path / "none", tmp_path / "out")
    with pytest.raises(DataError, match=r"expected a file meld\.parquet"):
        import_corpus("meld", tmp_path, tmp_path / "out")


@pytest.mark.parametrize("content", ["[]", "{", '{"sites": []}', '{"sites": {"a": "p"}}'])
def test_broken_site_lists(tmp_path, content):
    votes(tmp_path / "in", ["1001"])
    (tmp_path / "in" / "sites.json").write_text(content)
    with pytest.raises(DataError, match=r"sites\.json"):
        import_corpus("cremad_votes", tmp_path / "in", tmp_path / "out")


def test_two_sites_cannot_share_a_folder(tmp_path):
    clips = [Clip(p, {"sample_id": p, "person_id": p, "text": "x"}) for p in ("p", "q")]
    with pytest.raises(DataError, match="same folder"):
        write_sites(Corpus(clips, {"a.b": ["p"], "a b": ["q"]}), tmp_path)
    with pytest.raises(DataError, match="belongs to any site"):
        write_sites(Corpus(clips, {"a": ["r"]}), tmp_path)
