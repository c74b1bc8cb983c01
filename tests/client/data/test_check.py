import numpy as np
import pytest

from client.data.check import check_manifest
from common.errors import DataError


def test_what_a_manifest_holds(table, make):
    path = table(
        "sample_id,person_id,audio,text,label,split,withdrawn",
        "a,p1,a.wav,hello,joy,train,",
        "b,p1,,hello,fear,train,",
        "c,p2,,hello,joy,test,",
        "d,p3,,hello,joy,test,yes",
    )
    make.wav(path.parent / "a.wav", make.tone(0.5))
    report = check_manifest(path)
    assert (report.persons, report.clips) == (2, 3)
    assert report.left_out == {"consent was withdrawn": 1}
    assert report.coverage == {"audio": pytest.approx(1 / 3), "text": 1.0}
    assert report.labels == {"fear": 1, "joy": 2}
    assert report.splits == {"train": 2, "test": 1}
    assert report.chance == 0.5


def rows(time_tells, presence_tells, persons=12, clips=20):
    rng = np.random.default_rng(0)
    for person in range(persons):
        for clip in range(clips):
            label = rng.integers(2)
            start = 100 * label + clip if time_tells else rng.integers(200)
            text = "word" if (not presence_tells or label) else ""
            vector = "[1, 2]"
            name = ("joy", "fear")[label]
            yield f'{person}-{clip},p{person},{text},"{vector}",{start},{start + 5},{name}'


HEADER = "sample_id,person_id,text,features,start_s,end_s,label"


def test_what_could_be_guessed_from_presence_and_time_is_said(table):
    def guessed(*tells):
        return check_manifest(table(HEADER, *rows(*tells)))

    time = guessed(True, False)
    assert time.guessed["the start of a clip"] > 0.95
    assert any("start of a clip alone reaches" in warning for warning in time.warnings)
    presence = guessed(False, True)
    assert presence.guessed["the presence of modalities"] == 1.0
    neither = guessed(False, False)
    assert neither.warnings == ()
    assert np.isnan(neither.guessed["the presence of modalities"])


def test_every_unreadable_recording_at_once(table, make):
    path = table(
        "sample_id,person_id,audio,image,video,physio,text,features,label",
        "a,p1,a.wav,,,,,,joy",
        "b,p1,,b.png,,,,,joy",
        "c,p1,,,c.mp4,,,,joy",
        "d,p1,,,,d.csv,,,joy",
        "e,p1,,,,,e.txt,,joy",
        "f,p1,,,,,,f.npy,joy",
        "g,p1,,,film,,,,joy",
    )
    for name in ("a.wav", "b.png", "c.mp4", "d.csv", "e.txt", "f.npy"):
        (path.parent / name).write_bytes(b"\xff\xfe\0broken")
    (path.parent / "film").mkdir()
    with pytest.raises(DataError) as refusal:
        check_manifest(path)
    said = str(refusal.value).splitlines()
    assert len(said) == 7
    assert all(f"{path}:{line}: " in problem for line, problem in enumerate(said, start=2))


def test_good_recordings_of_every_kind(table, make):
    path = table(
        "sample_id,person_id,audio,image,video,physio,text,features,label",
        "a,p1,a.wav,b.png,c.mp4,d.csv,e.txt,f.npy,joy",
        'b,p2,c.mp4,,film,,words,"[1, 2]",fear',
    )
    make.wav(path.parent / "a.wav", make.tone(0.5))
    make.picture(path.parent / "b.png")
    make.picture(path.parent / "film" / "1.jpg")
    make.film(path.parent / "c.mp4")
    (path.parent / "d.csv").write_text("eda\n1\n2\n")
    (path.parent / "e.txt").write_text("words")
    np.save(path.parent / "f.npy", np.ones(2))
    assert set(check_manifest(path).coverage.values()) == {0.5, 1.0}


def test_a_window_after_the_end_of_a_signal(table):
    path = table(
        "sample_id,person_id,physio,start_s,label",
        "a,p1,x.csv,0,joy",
        "b,p1,x.csv,60,joy",
    )
    (path.parent / "x.csv").write_text("eda\n" + "1\n" * 40)
    with pytest.raises(DataError, match=r":3: physio: lasts 10 s, but start_s is 60"):
        check_manifest(path)


def test_a_broken_table_is_refused_as_when_it_is_loaded(table):
    path = table("sample_id,person_id,text,label_dist", 'a,p,x,"{""joy"": 7}"')
    with pytest.raises(DataError, match="label_dist"):
        check_manifest(path)


def test_dimensions_alone_are_enough(table):
    path = table("sample_id,person_id,text,valence", "a,p,x,0.5", "b,p,x,high")
    with pytest.raises(DataError, match="valence: expected a number"):
        check_manifest(path)
    assert check_manifest(table("sample_id,person_id,text,valence", "a,p,x,0.5")).labels == {}
