"""`tacit data check`: every problem at once, what should be looked at, and the page."""

import json
import os

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from client.data.check import check_manifest, survey
from client.data.commands import app
from client.data.feasible import feasible
from common.errors import ConfigError, DataError


def lines(problems):
    return [int(one.split(":")[1]) for one in problems]


def test_problems_of_the_table_and_of_recordings_together(table, make):
    path = table(
        "sample_id,person_id,audio,label,split",
        "a,p1,a.wav,joy,train",
        "b,p1,gone.wav,joy,train",
        "c,p1,../out.wav,joy,train",
        "d,p1,d.wav,joy,test",
        "d,p2,a.wav,joy,test",
    )
    make.wav(path.parent / "a.wav", make.tone(0.5))
    whole = make.wav(path.parent / "d.wav", make.tone(0.5))
    whole.write_bytes(whole.read_bytes()[:-100])
    report = survey(path, epsilons=())
    assert lines(report.problems) == [3, 4, 5, 5, 6]
    for said in ("no such file", "leads outside", "two splits", "truncated", "stands twice"):
        assert any(said in one for one in report.problems), said
    assert (report.clips, report.persons) == (5, 2)
    with pytest.raises(DataError) as refusal:
        check_manifest(path)
    assert str(refusal.value).splitlines() == list(report.problems)


def test_every_problem_is_shown_not_only_the_first(table):
    path = table("sample_id,person_id,audio,label", *(f"{k},p,{k}.wav,joy" for k in range(70)))
    with pytest.raises(DataError) as refusal:
        check_manifest(path)
    assert len(str(refusal.value).splitlines()) == 70


def test_labels_that_the_study_does_not_know(table):
    path = table("sample_id,person_id,text,label", "a,p1,x,joy", "b,p2,x,rage")
    assert survey(path, epsilons=()).problems == ()
    (problem,) = survey(path, epsilons=(), classes=("joy", "fear")).problems
    assert problem.startswith(f"{path}:3: label: unknown label 'rage'")


def test_a_rare_label_that_looks_misspelt(table):
    rows = [f"{k},p{k % 5},x,stress" for k in range(99)]
    path = table("sample_id,person_id,text,label", *rows, "z,p1,x,strss")
    (note,) = survey(path, epsilons=()).notes
    assert note == f"{path}:101: label 'strss' is rare; did you mean 'stress'?"


class TestSignals:
    def check(self, table, content, *windows):
        rows = [f"s{k},p,x.csv,{a},{b},joy" for k, (a, b) in enumerate(windows or [(0, 60)])]
        path = table("sample_id,person_id,physio,start_s,end_s,label", *rows)
        (path.parent / "x.csv").write_text(content)
        report = survey(path, epsilons=())
        return [
            [one.removeprefix(f"{path}:") for one in some]
            for some in (report.problems, report.notes)
        ]

    def test_runs_of_unknown_values_inside_a_clip(self, table):
        values = ["1"] * 240
        values[80:120] = [""] * 40
        values[200:204] = [""] * 4
        content = "eda@4,hr@4\n" + "".join(f"{v},60\n" for v in values)
        problems, notes = self.check(table, content, (0, 15), (15, 60))
        assert (problems, notes) == ([], ["3: physio: eda is unknown from 20.0 to 30.0 s"])

    def test_a_clip_of_which_nothing_is_known(self, table):
        content = "eda@4\n" + "1\n" * 100 + "nan\n" * 100 + "1\n" * 100
        problems, _ = self.check(table, content, (30, 45))
        assert problems == ["2: physio: no signal is known inside the clip"]

    def test_a_clock_that_jumps(self, table):
        times = [*range(30), *range(60, 120)]
        content = "time_s,hr\n" + "".join(f"{100 + t},60\n" for t in times)
        problems, notes = self.check(table, content, (0, 20), (20, 80))
        assert problems == []
        assert "3: physio: the clock jumps from 29 to 60 s" in notes
        assert not any(note.startswith("2:") for note in notes)

    def test_a_rate_that_cannot_hold_the_signal(self, table):
        problems, _ = self.check(table, "bvp@4\n" + "1\n2\n" * 200)
        assert problems == [
            "2: physio: bvp at 4 Hz; expected 16 or more: is the rate in its name right?"
        ]

    def test_signals_of_one_file_that_differ_in_length(self, table):
        rows = "".join(f"{k % 7},{1 if k < 240 else ''}\n" for k in range(1920))
        _, notes = self.check(table, "bvp@64,eda@4\n" + rows)
        assert notes == ["2: physio: signals last bvp 30 s, eda 60 s; is a rate wrong?"]


def test_sound_at_another_rate_silent_or_not_finite(table, make):
    path = table(
        "sample_id,person_id,audio,label",
        *(f"{name},p,{name}.wav,joy" for name in ("a", "b", "slow", "silent", "nan")),
    )
    for name in ("a", "b"):
        make.wav(path.parent / f"{name}.wav", make.tone(0.5))
    make.wav(path.parent / "slow.wav", make.tone(0.5, rate_hz=8000), rate_hz=8000)
    make.wav(path.parent / "silent.wav", np.zeros(8000))
    sf.write(path.parent / "nan.wav", np.full(8000, np.nan), 16_000, subtype="FLOAT")
    report = survey(path, epsilons=())
    assert report.problems == ()
    assert [note.removeprefix(f"{path}:") for note in report.notes] == [
        "4: audio: recorded at 8000 Hz, most others at 16000 Hz",
        "5: audio: silent from beginning to end",
        "6: audio: 8000 samples are not numbers",
        "6: audio: silent from beginning to end",
    ]
    assert report.rates == {"audio": {8000: 1, 16000: 4}}


def test_feasibility_asks_for_less_noise_where_there_are_more_persons():
    few, many = feasible(10, targets=(3.0,)), feasible(500, targets=(3.0,))
    assert few[0].noise_to_signal > 10 * many[0].noise_to_signal
    assert (few[0].delta, many[0].delta) == (1e-3, 1 / 5000)
    assert "kept" in many[0].said
    assert feasible(0) == ()
    with pytest.raises(ConfigError, match="--epsilon"):
        feasible(10, targets=(0.0,))
    with pytest.raises(ConfigError, match="--sites"):
        feasible(10, sites=2)


class TestCommand:
    def run(self, *words):
        return CliRunner().invoke(app, ["check", *map(str, words)])

    def site(self, table, label="joy"):
        rows = (f"{k},p{k % 4},word,{('fear', label)[k % 2]}" for k in range(16))
        return table("sample_id,person_id,text,label", *rows)

    def test_json_and_page(self, table, tmp_path):
        page = tmp_path / "page.html"
        done = self.run(self.site(table), "--json", "--html", page, "--epsilon", 8)
        assert done.exit_code == 0
        found = json.loads(done.stdout)
        assert (found["persons"], found["labels"]) == (4, {"fear": 8, "joy": 8})
        assert [one["target_epsilon"] for one in found["feasible"]] == [8.0]
        assert found["guessed"]["the length of a clip"] is None
        text = page.read_text()
        assert text.count("<svg") == text.count("</svg>") >= 4
        assert "src=" not in text
        assert "No problem" in text

    def test_names_from_the_manifest_cannot_make_markup(self, table, tmp_path):
        page = tmp_path / "page.html"
        evil = "<script>alert(1)</script>"
        self.run(self.site(table, evil), "--html", page, "--epsilon", 8)
        assert "<script" not in page.read_text()

    def test_problems_are_on_the_page_and_in_json_and_refuse(self, table, tmp_path):
        path = table("sample_id,person_id,audio,label", "a,p1,gone.wav,joy")
        page = tmp_path / "page.html"
        done = self.run(path, "--json", "--html", page, "--epsilon", 8)
        assert isinstance(done.exception, DataError)
        assert done.exception.exit_code == 2
        assert "no such file" in page.read_text()
        assert json.loads(done.stdout)["problems"] == [str(done.exception)]


class TestHostile:
    """Whatever lies in a folder: a clear error, nothing outside is read, memory is bounded."""

    KINDS = ("audio", "video", "image", "physio", "features", "text")
    ENDS = ("wav", "mp4", "png", "csv", "npy", "txt", "npz", "edf", "flac", "parquet")

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("end", ENDS)
    def test_sparse_files_of_10_gb_are_refused_unread(self, table, kind, end):
        path = table(f"sample_id,person_id,{kind},label", f"a,p,x.{end},joy")
        with (path.parent / f"x.{end}").open("wb") as file:
            os.truncate(file.fileno(), 10 << 30)
        if kind == "text" and end != "txt":
            assert check_manifest(path).clips == 1
            return
        with pytest.raises(DataError, match=rf"{path}:2: {kind}: "):
            check_manifest(path)

    @pytest.mark.parametrize("kind", KINDS)
    def test_links_out_of_the_folder_are_not_followed(self, table, tmp_path, kind):
        (tmp_path / "secret.txt").write_text("secret")
        path = table(f"sample_id,person_id,{kind},label", "a,p,x.txt,joy")
        (path.parent / "x.txt").symlink_to(tmp_path / "secret.txt")
        with pytest.raises(DataError, match="leads outside"):
            check_manifest(path)

    @settings(max_examples=60, deadline=None)
    @given(data=st.data())
    def test_any_bytes_under_any_name(self, tmp_path_factory, data):
        kind = data.draw(st.sampled_from([k for k in self.KINDS if k != "text"]))
        end = data.draw(st.sampled_from(self.ENDS))
        head = data.draw(
            st.sampled_from([b"", b"RIFF\xff\xff\xff\xffWAVE", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04"])
            | st.sampled_from([b"fLaC", b"OggS", b"\x93NUMPY\x01\x00", b"0       ", b"PAR1"])
        )
        folder = tmp_path_factory.mktemp("site")
        (folder / f"x.{end}").write_bytes(head + data.draw(st.binary(max_size=400)))
        path = folder / "manifest.csv"
        path.write_text(f"sample_id,person_id,{kind},label\na,p,x.{end},joy\n")
        for problem in survey(path, epsilons=()).problems:
            assert problem.startswith(f"{path}:2: {kind}: ")
