import gzip
import json
import pickle

import fastavro
import numpy as np
import pyedflib
import pytest

from client.data.importers import import_corpus
from client.data.load import load_site_data
from client.data.readers.signals import read_signals
from common.config import Modality, Study
from common.errors import DataError

RNG = np.random.default_rng(0)


def signals(out, name, site="site_0"):
    return read_signals(out / "sites" / site / "signals" / name)


def trainable(out, *classes):
    """Load the imported site as a study would."""
    study = Study(classes=classes, modalities={"physio": Modality()})
    return load_site_data(study, out / "sites" / "site_0" / "manifest.csv")


class TestWesad:
    LABEL = np.repeat([0, 1, 0, 2, 3, 6], [5, 130, 5, 65, 20, 10])

    def folder(self, tmp_path, tree=None, protocol=2):
        seconds = len(self.LABEL)
        wrist = {
            "ACC": RNG.integers(-64, 64, (seconds * 32, 3)).astype(float),
            "BVP": RNG.normal(0, 20, (seconds * 64, 1)),
            "EDA": RNG.random((seconds * 4, 1)),
            "TEMP": np.full((seconds * 4, 1), 33.0),
        }
        chest = {
            "ECG": RNG.normal(0, 1, (seconds * 700, 1)),
            "Resp": RNG.random((seconds * 700, 1)),
        }
        whole = {
            "signal": {"wrist": wrist, "chest": chest},
            "label": np.repeat(self.LABEL, 700).astype("i4"),
            "subject": "S2",
        }
        folder = tmp_path / "in" / "S2"
        folder.mkdir(parents=True)
        (folder / "S2.pkl").write_bytes(pickle.dumps(whole if tree is None else tree, protocol))
        (folder / "S2_readme.txt").write_text("### Personal ###\nAge: 27\nGender: male\n")
        return tmp_path / "in"

    def test_conditions_as_windows_signals_in_units_and_groups(self, tmp_path, rows):
        import_corpus("wesad", self.folder(tmp_path), tmp_path / "out")
        found = rows(tmp_path / "out")
        said = found[["start_s", "end_s", "label"]].values.tolist()
        assert said == [
            ["5", "65", "baseline"],
            ["65", "125", "baseline"],
            ["140", "200", "stress"],
            ["205", "225", "amusement"],
        ]
        assert set(found["group_sex"]) == {"male"}
        kept = signals(tmp_path / "out", "S2.npz")
        assert {n: s.rate_hz for n, s in kept.items()} == {
            **{"acc": 32, "bvp": 64, "eda": 4, "temp": 4},
            **{"ecg": 700, "resp": 700},
        }
        assert np.abs(kept["acc"].values).max() <= 1
        assert trainable(tmp_path / "out", "baseline", "stress", "amusement").present_NM.all()

    def test_a_pickle_that_holds_more_than_arrays_is_refused(self, tmp_path):
        class Evil:
            def __reduce__(self):
                return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

        with pytest.raises(DataError, match=r"S2.pkl: asks for __builtin__.exec"):
            import_corpus("wesad", self.folder(tmp_path, {"signal": Evil()}), tmp_path / "out")
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize("tree", [[], {"signal": {}}, {"signal": {"wrist": {}}, "label": 1}])
    def test_another_pickle(self, tmp_path, tree):
        with pytest.raises(DataError, match="expected signal, with wrist and chest, and label"):
            import_corpus("wesad", self.folder(tmp_path, tree), tmp_path / "out")


class TestEmpaticaE4:
    def folder(self, tmp_path, seconds=150, tags=(60.0,)):
        start = 1_544_027_337.0
        folder = tmp_path / "in" / "ann" / "1544027337_A0"
        folder.mkdir(parents=True)

        def write(name, rate_hz, late_s=0, axes=1):
            values = RNG.integers(1, 60, (int((seconds - late_s) * rate_hz), axes))
            head = [
                ", ".join([f"{start + late_s:.6f}"] * axes),
                ", ".join([f"{rate_hz:.6f}"] * axes),
            ]
            body = [",".join(map(str, row)) for row in values]
            (folder / name).write_text("\n".join(head + body) + "\n")
            return values

        write("ACC.csv", 32, axes=3)
        write("BVP.csv", 64)
        write("EDA.csv", 4)
        heart = write("HR.csv", 1, late_s=10)
        write("TEMP.csv", 4)
        (folder / "IBI.csv").write_text(f"{start}, IBI\n7.1,0.8\n7.9,0.81\n")
        (folder / "tags.csv").write_text("".join(f"{start + t:.2f}\n" for t in tags))
        return tmp_path / "in", heart

    def test_one_clock_for_all_signals(self, tmp_path, rows):
        source, heart = self.folder(tmp_path)
        import_corpus("empatica_e4", source, tmp_path / "out")
        found = rows(tmp_path / "out")
        assert found["start_s"].tolist() == ["0", "60", "120"]
        assert set(found["person_id"]) == {"ann"}
        kept = signals(tmp_path / "out", "ann_1544027337_A0.npz")
        assert np.isnan(kept["hr"].values[:10]).all()
        np.testing.assert_allclose(kept["hr"].values[10:], heart[:, 0])
        assert (kept["acc"].values.shape, kept["acc"].values.max() <= 1) == ((150 * 32, 3), True)

    def test_presses_of_the_button_as_labels(self, tmp_path, rows):
        source, _ = self.folder(tmp_path)
        import_corpus("empatica_e4", source, tmp_path / "out", options={"tags": "rest,stress"})
        found = rows(tmp_path / "out")
        assert found[["start_s", "label"]].values.tolist() == [
            *(["0", "rest"], ["60", "stress"], ["120", "stress"]),
        ]
        assert len(trainable(tmp_path / "out", "rest", "stress")) == 3

    def test_labels_from_a_table(self, tmp_path, rows):
        source, _ = self.folder(tmp_path)
        (source / "labels.csv").write_text("person_id,start_s,end_s,valence\nann,20,80,0.5\n")
        import_corpus("empatica_e4", source, tmp_path / "out")
        found = rows(tmp_path / "out")
        assert found[["start_s", "end_s", "valence"]].values.tolist() == [["20", "80", "0.5"]]

    @pytest.mark.parametrize(
        ("name", "content", "said"),
        [
            ("EDA.csv", "1544027337.0\n", "expected start, rate and values; found 1 lines"),
            ("EDA.csv", "1544027337.0\n0\n1\n", r"EDA.csv:2: expected a start and a rate in Hz"),
            ("EDA.csv", "1544027337.0\nfour\n1\n", r"EDA.csv:2: expected a number"),
            ("EDA.csv", "1544027337.0\n4\nx\n", r"EDA.csv: expected numbers"),
            ("ACC.csv", "1.5e9,1.5e9\n32,32\n1,2\n", r"ACC.csv:3: expected 3 numbers"),
            ("EDA.csv", "1000000000.0\n4\n1\n2\n", "gaps longer than what was recorded"),
            ("tags.csv", "1544020000.0\n", "presses inside the recording"),
            ("tags.csv", "", "0 presses make 1 stretches, but --option tags names 2"),
        ],
    )
    def test_bad_files(self, tmp_path, name, content, said):
        source, _ = self.folder(tmp_path)
        next(source.rglob(name)).write_text(content)
        with pytest.raises(DataError, match=said):
            import_corpus("empatica_e4", source, tmp_path / "out", options={"tags": "rest,stress"})


def avro_schema():
    def signal(name, *arrays, extra=()):
        fields = [
            {"name": "timestampStart", "type": "long"},
            {"name": "samplingFrequency", "type": "float"},
            *extra,
            *({"name": a, "type": {"type": "array", "items": t}} for a, t in arrays),
        ]
        return {"name": name, "type": {"type": "record", "name": f"{name}_t", "fields": fields}}

    keys = ("physicalMin", "physicalMax", "digitalMin", "digitalMax")
    params = {
        "name": "imuParams",
        "type": {
            "type": "record",
            "name": "imu_t",
            "fields": [{"name": key, "type": "int"} for key in keys],
        },
    }
    raw = [
        signal("accelerometer", *((axis, "int") for axis in "xyz"), extra=(params,)),
        signal("eda", ("values", "float")),
        signal("temperature", ("values", "float")),
        signal("bvp", ("values", "float")),
    ]
    return {
        "type": "record",
        "name": "root",
        "fields": [
            {"name": "timezone", "type": "int"},
            {"name": "rawData", "type": {"type": "record", "name": "raw_t", "fields": raw}},
        ],
    }


class TestEmbracePlus:
    START = 1_676_041_523

    def write(self, tmp_path, late_s=0, seconds=90, codec="deflate"):
        def signal(rate_hz, values):
            start_us = (self.START + late_s) * 1_000_000
            return {"timestampStart": start_us, "samplingFrequency": rate_hz, "values": values}

        acc = signal(64.0, [])
        del acc["values"]
        acc |= {axis: [1024] * (seconds * 64) for axis in "xyz"}
        acc["imuParams"] = {
            **{"physicalMin": -16, "physicalMax": 16},
            **{"digitalMin": -32768, "digitalMax": 32767},
        }
        record = {
            "timezone": 0,
            "rawData": {
                "accelerometer": acc,
                "eda": signal(4.0, RNG.random(seconds * 4).tolist()),
                "temperature": signal(1.0, [33.0] * seconds),
                "bvp": signal(64.0, RNG.normal(0, 20, seconds * 64).tolist()),
            },
        }
        folder = tmp_path / "in" / "2023-02-10" / "001-3YK3K152F5" / "raw_data" / "v6"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"1-1-001_{self.START + late_s}.avro"
        with path.open("wb") as file:
            fastavro.writer(file, avro_schema(), [record], codec=codec)
        return path

    def test_files_of_a_day_on_one_clock(self, tmp_path, rows):
        self.write(tmp_path)
        self.write(tmp_path, late_s=100, codec="null")
        import_corpus("embraceplus", tmp_path / "in", tmp_path / "out")
        found = rows(tmp_path / "out")
        assert set(found["person_id"]) == {"1-1-001"}
        assert set(found["session_id"]) == {"2023-02-10"}
        assert found["end_s"].tolist() == ["60", "120", "180"]
        kept = signals(tmp_path / "out", "1-1-001_2023-02-10.npz")
        assert kept["eda"].values.shape == (190 * 4,)
        assert np.isnan(kept["eda"].values[90 * 4 : 100 * 4]).all()
        np.testing.assert_allclose(kept["acc"].values[0], 0.5, atol=1e-3)

    def test_damaged_files(self, tmp_path):
        path = self.write(tmp_path)
        whole = path.read_bytes()
        for content in (whole[:-20], whole[: len(whole) // 2], whole[:30], b"Obj\x02" + whole[4:]):
            path.write_bytes(content)
            with pytest.raises(DataError, match=path.name):
                import_corpus("embraceplus", tmp_path / "in", tmp_path / "out")


class TestBidsPhysio:
    def folder(self, tmp_path, seconds=130, columns=("cardiac", "respiratory", "trigger")):
        source = tmp_path / "in"
        beh = source / "sub-01" / "ses-1" / "beh"
        beh.mkdir(parents=True)
        stem = "sub-01_ses-1_task-rest"
        table = RNG.random((seconds * 50, 3))
        with gzip.open(beh / f"{stem}_recording-heart_physio.tsv.gz", "wt") as file:
            np.savetxt(file, table, delimiter="\t")
        (beh / f"{stem}_recording-heart_physio.json").write_text(
            json.dumps({"StartTime": -10.0, "Columns": columns})
        )
        with gzip.open(beh / f"{stem}_recording-skin_physio.tsv.gz", "wt") as file:
            file.write("0.5\nn/a\n" * (seconds * 2 - 20))
        (beh / f"{stem}_recording-skin_physio.json").write_text(
            json.dumps({"StartTime": 0.0, "SamplingFrequency": 4.0, "Columns": ["eda"]})
        )
        (source / "task-rest_physio.json").write_text('{"SamplingFrequency": 50.0}')
        (beh / f"{stem}_events.tsv").write_text(
            "onset\tduration\ttrial_type\n0\t60\tcalm\n60\t60\tstress\n61\tn/a\tpress\n"
        )
        (source / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t30\tF\n")
        return source

    def test_one_run_with_inherited_sidecars_and_events(self, tmp_path, rows):
        import_corpus("bids_physio", self.folder(tmp_path), tmp_path / "out")
        found = rows(tmp_path / "out")
        assert found[["start_s", "end_s", "label"]].values.tolist() == [
            ["10", "70", "calm"],
            ["70", "130", "stress"],
        ]
        assert found.loc[0, ["person_id", "group_age", "group_sex"]].tolist() == [
            "sub-01",
            "30",
            "F",
        ]
        kept = signals(tmp_path / "out", "sub-01_ses-1_task-rest.npz")
        assert {n: s.rate_hz for n, s in kept.items()} == {"bvp": 50, "resp": 50, "eda": 4}
        assert np.isnan(kept["eda"].values[:40]).all()
        assert np.isfinite(kept["eda"].values[40])

    @pytest.mark.parametrize(
        ("harm", "said"),
        [
            (lambda s: (s / "task-rest_physio.json").unlink(), "must give StartTime, SamplingF"),
            (
                lambda s: next(s.rglob("*skin_physio.tsv.gz")).write_bytes(b"\x1f\x8bbroken"),
                "not a readable .gz",
            ),
            (
                lambda s: next(s.rglob("*skin_physio.tsv.gz")).write_bytes(
                    gzip.compress(b"0.5\n" * 9999)[:-12]
                ),
                "truncated",
            ),
            (
                lambda s: next(s.rglob("*skin_physio.tsv.gz")).write_bytes(
                    gzip.compress(b"a\tb\n")
                ),
                "expected 1 columns of numbers",
            ),
        ],
    )
    def test_recordings_that_are_not_bids(self, tmp_path, harm, said):
        source = self.folder(tmp_path)
        harm(source)
        with pytest.raises(DataError, match=said):
            import_corpus("bids_physio", source, tmp_path / "out")

    def test_what_a_file_unpacks_to_is_bounded(self, tmp_path, monkeypatch):
        source = self.folder(tmp_path)
        monkeypatch.setattr("client.data.importers.bids_physio.MAX_UNPACKED_BYTES", 1000)
        next(source.rglob("*heart_physio.tsv.gz")).unlink()
        bomb = next(source.rglob("*skin_physio.tsv.gz"))
        bomb.write_bytes(gzip.compress(b"0" * 10_000_000)[:900])
        with pytest.raises(DataError, match="MB"):
            import_corpus("bids_physio", source, tmp_path / "out")


def write_edf(
    path, seconds=130, patient="P7", annotations=(), rates=(64, 4), labels=("BVP", "EDA")
):
    path.parent.mkdir(parents=True, exist_ok=True)
    with pyedflib.EdfWriter(str(path), len(labels), file_type=pyedflib.FILETYPE_EDFPLUS) as writer:
        writer.setPatientCode(patient)
        heads = [
            {
                **{"label": label, "dimension": "uS" if label == "EDA" else "mV"},
                **{"sample_frequency": rate, "physical_min": -100.0, "physical_max": 100.0},
                **{"digital_min": -32768, "digital_max": 32767, "prefilter": "", "transducer": ""},
            }
            for label, rate in zip(labels, rates, strict=True)
        ]
        writer.setSignalHeaders(heads)
        writer.writeSamples([RNG.normal(0, 5, seconds * rate) for rate in rates])
        for start_s, length_s, text in annotations:
            writer.writeAnnotation(start_s, length_s, text)
    return path


class TestEdf:
    MARKS = ((5.0, 60.0, "calm"), (70.0, 60.0, "stress"), (90.0, -1, "button"))

    def test_annotations_as_labels(self, tmp_path, rows):
        write_edf(tmp_path / "in" / "night1.edf", annotations=self.MARKS)
        import_corpus("edf", tmp_path / "in", tmp_path / "out")
        found = rows(tmp_path / "out")
        assert found[["person_id", "session_id", "start_s", "label"]].values.tolist() == [
            ["P7", "night1", "5", "calm"],
            ["P7", "night1", "70", "stress"],
        ]
        kept = signals(tmp_path / "out", "night1.edf")
        assert {n: s.rate_hz for n, s in kept.items()} == {"bvp": 64, "eda": 4}
        assert len(trainable(tmp_path / "out", "calm", "stress")) == 2

    def test_persons_without_a_code_are_folders(self, tmp_path, rows):
        for name in ("ann/a.edf", "ann/b.edf", "bob/a.edf"):
            write_edf(tmp_path / "in" / name, patient="", seconds=60)
        import_corpus("edf", tmp_path / "in", tmp_path / "out")
        assert rows(tmp_path / "out")["person_id"].tolist() == ["ann", "ann", "bob"]

    @pytest.mark.parametrize("change", [lambda c: c[:-7], lambda c: c + b"x", lambda c: c[:300]])
    def test_truncated_and_grown_files(self, tmp_path, change):
        path = write_edf(tmp_path / "in" / "a.edf")
        path.write_bytes(change(path.read_bytes()))
        with pytest.raises(DataError, match=r"a.edf: (truncated|not an EDF)"):
            import_corpus("edf", tmp_path / "in", tmp_path / "out")
