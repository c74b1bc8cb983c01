import json
from dataclasses import replace

import pytest

from client.data.importers import import_corpus
from client.data.load import load_site_data
from common.config import Modality, Study
from common.errors import ConfigError, DataError
from common.ratings import Dimension, Label


class TestCremaD:
    NAMES = ("1001_DFA_ANG_XX", "1001_IEO_HAP_HI", "1002_IEO_SAD_LO")

    def folder(self, tmp_path, make, votes=True):
        source = tmp_path / "in"
        for name in self.NAMES:
            make.wav(source / "AudioWAV" / f"{name}.wav", make.tone(0.5))
        (source / "VideoFlash").mkdir()
        make.film(source / "VideoFlash" / "clip.mp4").rename(
            source / "VideoFlash" / f"{self.NAMES[0]}.flv"
        )
        (source / "VideoDemographics.csv").write_text(
            "ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,Not Hispanic\n"
            "1002,21,Female,Caucasian,Not Hispanic\n"
        )
        if votes:
            (source / "processedResults").mkdir()
            (source / "processedResults" / "tabulatedVotes.csv").write_text(
                '"","A","D","F","H","N","S","fileName","numResponses","agreement","emoVote"\n'
                '"100001",9,0,0,0,1,0,"1001_DFA_ANG_XX",10,0.9,"A"\n'
                '"200001",0,9,0,0,1,0,"1001_DFA_ANG_XX",10,0.9,"D"\n'
                '"300001",6,3,0,0,1,0,"1001_DFA_ANG_XX",10,0.6,"A"\n'
            )
        return source

    def test_names_votes_films_and_groups(self, tmp_path, make, rows):
        report = import_corpus("crema_d", self.folder(tmp_path, make), tmp_path / "out")
        assert (report.persons, report.rows) == (2, {"site_0": 3})
        found = rows(tmp_path / "out").set_index("sample_id")
        assert found["label"].tolist() == ["anger", "happy", "sad"]
        assert found["person_id"].tolist() == ["1001", "1001", "1002"]
        assert found["video"].tolist() == ["video/1001_DFA_ANG_XX.flv", "", ""]
        assert found["group_sex"].tolist() == ["Male", "Male", "Female"]
        assert found["group_age"]["1002_IEO_SAD_LO"] == "21"

    def test_votes_on_voice_and_face_together_are_the_distribution(self, tmp_path, make, rows):
        import_corpus("crema_d", self.folder(tmp_path, make), tmp_path / "out")
        found = rows(tmp_path / "out").set_index("sample_id")["label_dist"]
        assert json.loads(found["1001_DFA_ANG_XX"]) == {
            "anger": 0.6,
            "disgust": 0.3,
            "neutral": 0.1,
        }
        assert found["1001_IEO_HAP_HI"] == ""

    def test_without_votes_there_is_no_distribution(self, tmp_path, make, rows):
        import_corpus("crema_d", self.folder(tmp_path, make, votes=False), tmp_path / "out")
        assert "label_dist" not in rows(tmp_path / "out").columns

    def test_a_link_out_of_the_folder_is_refused(self, tmp_path, make):
        source = self.folder(tmp_path, make)
        secret = make.wav(tmp_path / "secret.wav", make.tone(0.5))
        (source / "AudioWAV" / "1003_DFA_ANG_XX.wav").symlink_to(secret)
        with pytest.raises(DataError, match=r"1003_DFA_ANG_XX.wav: the path leads outside"):
            import_corpus("crema_d", source, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_votes_that_are_no_numbers(self, tmp_path, make):
        source = self.folder(tmp_path, make)
        votes = source / "processedResults" / "tabulatedVotes.csv"
        votes.write_text(votes.read_text().replace('"300001",6', '"300001",six'))
        with pytest.raises(DataError, match=r"tabulatedVotes.csv:4: expected a number"):
            import_corpus("crema_d", source, tmp_path / "out")


EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[10.0100 - 11.3925]\tSes01F_impro01_M000\tfru\t[2.0000, 3.5000, 3.0000]
C-E2:\tFrustration;\t()

[14.8872 - 18.0175]\tSes01F_impro01_F001\txxx\t[2.5000, 2.5000, 2.5000]
"""


class TestIemocap:
    def folder(self, tmp_path, make, evaluation=EVALUATION):
        dialog = tmp_path / "in" / "Session1" / "dialog"
        (dialog / "EmoEvaluation" / "Categorical").mkdir(parents=True)
        (dialog / "EmoEvaluation" / "Ses01F_impro01.txt").write_text(evaluation)
        (dialog / "EmoEvaluation" / "Categorical" / "x_cat.txt").write_text("other")
        (dialog / "transcriptions").mkdir()
        (dialog / "transcriptions" / "Ses01F_impro01.txt").write_text(
            "Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.\n"
            "M: not of this form\nSes01F_impro01_M000 [010.0100-011.3925]: Yeah, really?\n"
        )
        wav = tmp_path / "in" / "Session1" / "sentences" / "wav" / "Ses01F_impro01"
        for name in ("F000", "F001", "M000"):
            make.wav(wav / f"Ses01F_impro01_{name}.wav", make.tone(0.5))
        return tmp_path / "in"

    def test_speakers_classes_dimensions_and_words(self, tmp_path, make, rows):
        report = import_corpus("iemocap", self.folder(tmp_path, make), tmp_path / "out")
        assert (report.persons, report.rows) == (2, {"site_0": 2})
        found = rows(tmp_path / "out").set_index("sample_id")
        first = found.loc["Ses01F_impro01_F000"]
        assert (first["person_id"], first["label"], first["text"]) == (
            *("Ses01F", "neutral", "Excuse me."),
        )
        assert found["group_sex"].tolist() == ["female", "male"]
        other = found.loc["Ses01F_impro01_M000"]
        assert [float(other[d]) for d in ("valence", "arousal", "dominance")] == [2.0, 3.5, 3.0]
        assert (other["person_id"], other["label"]) == ("Ses01M", "frustration")

    def test_a_study_of_classes_and_dimensions_reads_what_was_written(self, tmp_path, make):
        report = import_corpus("iemocap", self.folder(tmp_path, make), tmp_path / "out")
        scale = Dimension(least=1, most=5)
        study = Study(
            name="iemocap",
            classes=("frustration", "neutral"),
            dimensions={"valence": scale, "activation": replace(scale, column="arousal")},
            modalities={"audio": Modality()},
        )
        data = load_site_data(study, report.manifests[0])
        other = data.sample_ids.index("Ses01F_impro01_M000")
        assert data.y_NC[other].tolist() == pytest.approx([1, 0, 0.25, 0.75, 0.625, 0.375])

    def test_chosen_classes_only(self, tmp_path, make, rows):
        source = self.folder(tmp_path, make)
        import_corpus("iemocap", source, tmp_path / "out", options={"classes": "neutral, sad"})
        assert rows(tmp_path / "out")["label"].tolist() == ["neutral"]
        with pytest.raises(ConfigError, match="unknown class 'joy'"):
            import_corpus("iemocap", source, tmp_path / "out", options={"classes": "joy"})

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("neu\t", "zzz\t", r"Ses01F_impro01.txt:3: unknown class 'zzz'"),
            ("[2.0000, 3.5000, 3.0000]", "[2.0]", r"Ses01F_impro01.txt:7: expected \[start"),
            ("Ses01F_impro01_M000\t", "../../secret\t", r":7: expected \[start"),
        ],
    )
    def test_bad_evaluations(self, tmp_path, make, old, new, said):
        source = self.folder(tmp_path, make, EVALUATION.replace(old, new))
        with pytest.raises(DataError, match=said):
            import_corpus("iemocap", source, tmp_path / "out")

    def test_an_utterance_without_sound(self, tmp_path, make):
        source = self.folder(tmp_path, make)
        next(source.rglob("*_M000.wav")).unlink()
        with pytest.raises(DataError, match=r"_M000.wav: no such file"):
            import_corpus("iemocap", source, tmp_path / "out")


class TestCmuMosei:
    def folder(self, tmp_path, make, segmented=True):
        source = tmp_path / "in"
        audio = source / "Raw" / "Audio"
        if segmented:
            make.wav(audio / "Segmented" / "WAV_16000" / "abc_0.wav", make.tone(0.5))
            make.wav(audio / "Segmented" / "WAV_16000" / "abc_1.wav", make.tone(0.5))
        make.wav(audio / "Full" / "WAV_16000" / "abc.wav", make.tone(3))
        make.wav(audio / "Full" / "WAV_16000" / "x-y.wav", make.tone(3))
        spoken = source / "Raw" / "Transcript" / "Segmented" / "Combined"
        spoken.mkdir(parents=True)
        (spoken / "abc.txt").write_text("abc___0___0.0___1.0___Good.\nabc___1___1.0___2.5___Hm,\n")
        (spoken / "x-y.txt").write_text("x-y___0___0.5___2.0___So bad, ___ really\n")
        (source / "label.csv").write_text(
            "video_id,clip_id,label,happy,sad,anger,surprise,disgust,fear,mode\n"
            "abc,0,1.6666,2,0,0,1,0,0,train\nabc,1,0.0,0,0,0,0,0,0,train\n"
            "x-y,0,-2.3333,0,1,2,0,0,0,valid\n"
        )
        return source

    def test_segments_splits_and_words(self, tmp_path, make, rows):
        import_corpus("cmu_mosei", self.folder(tmp_path, make), tmp_path / "out")
        found = rows(tmp_path / "out").set_index("sample_id")
        assert found["label"].tolist() == ["positive", "neutral", "negative"]
        assert found["split"].tolist() == ["train", "train", "validation"]
        assert found["person_id"].tolist() == ["abc", "abc", "x-y"]
        assert found["audio"]["abc_1"] == "audio/abc_1.wav"
        assert found["start_s"].tolist() == ["", "", "0.5"]
        assert found["text"]["x-y_0"] == "So bad, ___ really"

    def test_sentiment_is_a_dimension_and_emotions_are_labels_that_may_hold_together(
        self, tmp_path, make
    ):
        report = import_corpus("cmu_mosei", self.folder(tmp_path, make), tmp_path / "out")
        study = Study(
            name="mosei",
            dimensions={"sentiment": Dimension(-3, 3)},
            labels={"happy": Label(), "astonished": Label("surprise")},
            modalities={"text": Modality()},
        )
        data = load_site_data(study, report.manifests[0])
        place = (1.6666 + 3) / 6
        first, second, _ = data.y_NC.tolist()
        assert first == pytest.approx([place, 1 - place, 1, 0, 1, 0], abs=1e-4)
        assert second == pytest.approx([0.5, 0.5, 0, 1, 0, 1])

    def test_windows_in_whole_recordings(self, tmp_path, make, rows):
        source = self.folder(tmp_path, make, segmented=False)
        import_corpus("cmu_mosei", source, tmp_path / "out")
        found = rows(tmp_path / "out").set_index("sample_id")
        assert found.loc["abc_1", ["audio", "start_s", "end_s"]].tolist() == [
            *("audio/abc.wav", "1.0", "2.5"),
        ]

    def test_other_labels(self, tmp_path, make, rows):
        source = self.folder(tmp_path, make)
        import_corpus("cmu_mosei", source, tmp_path / "a", options={"label": "emotion"})
        assert rows(tmp_path / "a")["label"].tolist() == ["happy", "anger"]
        import_corpus("cmu_mosei", source, tmp_path / "b", options={"label": "sentiment"})
        assert rows(tmp_path / "b")["label"].tolist() == ["+2", "0", "-2"]

    def test_pickles_beside_the_table_are_never_opened(self, tmp_path, make, rows):
        source = self.folder(tmp_path, make)
        (source / "mosei_senti_data.pkl").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
        import_corpus("cmu_mosei", source, tmp_path / "out")
        assert not list((tmp_path / "out").rglob("*.pkl"))

    def test_a_sentiment_out_of_range(self, tmp_path, make):
        source = self.folder(tmp_path, make)
        table = source / "label.csv"
        table.write_text(table.read_text().replace("1.6666", "16666"))
        with pytest.raises(DataError, match=r"label.csv:2: expected a sentiment from -3 to 3"):
            import_corpus("cmu_mosei", source, tmp_path / "out")


class TestGenericCsv:
    def folder(self, tmp_path, make):
        source = tmp_path / "in"
        make.wav(source / "clips" / "a.wav", make.tone(0.5))
        (source / "table.csv").write_text(
            "subject,file,emotion,said,f0,energy,gender\n"
            'ann,clips/a.wav,joy,"Hi, you",120,0.5,f\nbob,,fear,Oh,,0.25,m\n'
        )
        return source

    MAPPING = {  # noqa: RUF012
        "person_id": "subject",
        "audio": "file",
        "label": "emotion",
        "text": "said",
        "features_prosody": "f0,energy",
        "group_sex": "gender",
    }

    def test_columns_by_name(self, tmp_path, make, rows):
        source = self.folder(tmp_path, make)
        import_corpus("csv", source / "table.csv", tmp_path / "out", options=self.MAPPING)
        found = rows(tmp_path / "out")
        assert found["sample_id"].tolist() == ["row000002", "row000003"]
        assert found["audio"].tolist() == ["media/clips/a.wav", ""]
        assert [json.loads(cell) for cell in found["features_prosody"]] == [
            *([120.0, 0.5], [None, 0.25]),
        ]
        assert found["text"][0] == "Hi, you"
        assert found["group_sex"].tolist() == ["f", "m"]

    def test_a_folder_with_one_table(self, tmp_path, make):
        report = import_corpus(
            "csv", self.folder(tmp_path, make), tmp_path / "out", options=self.MAPPING
        )
        assert report.persons == 2

    @pytest.mark.parametrize("cell", ["../secret.wav", "/etc/passwd", "gone.wav", "link.wav"])
    def test_files_outside_or_not_there(self, tmp_path, make, cell):
        source = self.folder(tmp_path, make)
        make.wav(tmp_path / "secret.wav", make.tone(0.1))
        (source / "link.wav").symlink_to(tmp_path / "secret.wav")
        table = source / "table.csv"
        table.write_text(table.read_text().replace("bob,", f"bob,{cell}"))
        with pytest.raises(DataError, match=r"table.csv:3: audio: (the path|no such|not a usable)"):
            import_corpus("csv", table, tmp_path / "out", options=self.MAPPING)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"label": "emotion"}, "person_id=COLUMN is needed"),
            ({"person_id": "subject", "sound": "file"}, "sound: no column of a manifest"),
        ],
    )
    def test_mappings_that_make_no_manifest(self, tmp_path, make, options, said):
        with pytest.raises(ConfigError, match=said):
            import_corpus("csv", self.folder(tmp_path, make), tmp_path / "out", options=options)

    def test_columns_that_the_table_lacks(self, tmp_path, make):
        with pytest.raises(DataError, match="columns are missing: who; there are subject"):
            import_corpus(
                "csv", self.folder(tmp_path, make), tmp_path / "out", options={"person_id": "who"}
            )


def test_options_of_other_presets_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="preset ravdess: unknown option 'tier'; known: none"):
        import_corpus("ravdess", tmp_path, tmp_path / "out", options={"tier": "x"})
