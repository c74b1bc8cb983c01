import pytest

from client.data.importers import import_corpus
from common.errors import DataError

EAF = """<?xml version="1.0" encoding="UTF-8"?>
{doctype}<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-01-01T00:00:00+00:00" FORMAT="3.0" VERSION="3.0">
  <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
    <MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/labs/talk%201.{end}" MIME_TYPE="x"
      RELATIVE_MEDIA_URL="{relative}"/>
  </HEADER>
  <TIME_ORDER>
    <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="0"/><TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="400"/>
    <TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="500"/><TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="900"/>
  </TIME_ORDER>
  <TIER TIER_ID="emotion-A" PARTICIPANT="ann" LINGUISTIC_TYPE_REF="emotion">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
      <ANNOTATION_VALUE>joy</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts4">
      <ANNOTATION_VALUE>fear</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  </TIER>
  <TIER TIER_ID="words" PARTICIPANT="ann" PARENT_REF="emotion-A" LINGUISTIC_TYPE_REF="words">
    <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a3" ANNOTATION_REF="a1">
      <ANNOTATION_VALUE>Hello you</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
  </TIER>
</ANNOTATION_DOCUMENT>
"""


@pytest.fixture
def folder(tmp_path, make):
    def write(relative="./talk%201.wav", doctype="", end="wav"):
        source = tmp_path / "in" / "pair1"
        make.wav(source / "talk 1.wav", make.tone(1.0))
        (source / "talk.eaf").write_text(EAF.format(relative=relative, doctype=doctype, end=end))
        return tmp_path / "in"

    return write


def test_tiers_persons_and_words(folder, tmp_path, rows):
    options = {"tier": "emotion", "text": "words"}
    import_corpus("elan", folder(), tmp_path / "out", options=options)
    found = rows(tmp_path / "out")
    assert found[["person_id", "start_s", "end_s", "label", "text"]].values.tolist() == [
        ["ann", "0", "0.4", "joy", "Hello you"],
        ["ann", "0.5", "0.9", "fear", ""],
    ]
    assert set(found["audio"]) == {"media/pair1_talk 1.wav"}


def test_films_with_sound_are_seen_and_heard(folder, tmp_path, make, rows):
    source = folder(relative="film.mp4")
    make.film(source / "pair1" / "film.mp4")
    import_corpus("elan", source, tmp_path / "out", options={"tier": "emotion-A"})
    found = rows(tmp_path / "out")
    assert set(found["video"]) == set(found["audio"]) == {"media/pair1_film.mp4"}


@pytest.mark.parametrize("relative", ["../../secret.wav", "/etc/passwd", "gone.wav", "link.wav"])
def test_media_elsewhere_are_not_reached(folder, tmp_path, make, relative):
    make.wav(tmp_path / "secret.wav", make.tone(0.2))
    source = folder(relative)
    (source / "pair1" / "link.wav").symlink_to(tmp_path / "secret.wav")
    with pytest.raises(DataError, match=r"media lies beside it|leads outside"):
        import_corpus("elan", source, tmp_path / "out")


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    "doctype", [BOMB, '<!DOCTYPE x SYSTEM "file:///etc/passwd">', "<!DOCTYPE x>"]
)
def test_document_types_are_refused(folder, tmp_path, doctype):
    with pytest.raises(DataError, match="DOCTYPE"):
        import_corpus("elan", folder(doctype=doctype), tmp_path / "out")


@pytest.mark.parametrize(
    "content",
    ["", "<a>", "\0", "<a/>", "<a>" * 100 + "</a>" * 100, '<?xml version="1.0" encoding="x"?><a/>'],
)
def test_files_that_are_not_elans(folder, tmp_path, content):
    source = folder()
    (source / "pair1" / "talk.eaf").write_text(content)
    with pytest.raises(DataError, match=r"talk\.eaf"):
        import_corpus("elan", source, tmp_path / "out")
