import csv
import json
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.data.manifest import read_manifest
from common.errors import DataError

TODAY = date(2026, 3, 1)
CLASSES = ("joy", "fear")
HEADER = "sample_id,person_id,text,label"


def read(path, **more):
    return read_manifest(path, CLASSES, "research", TODAY, **more)


def refused(path, **more):
    with pytest.raises(DataError) as refusal:
        read(path, **more)
    return str(refusal.value)


def test_rows_as_they_stand(table):
    path = table(
        "sample_id,person_id,session_id,start_s,end_s,text,features_a,label,split,group_sex",
        'a,p1,s1,0.5,2,"one\nline, two",,joy,train,f',
        'b,p1,,,,,"[1, 2]",fear,train,f',
    )
    manifest = read(path)
    assert manifest.modalities == ("features_a", "text")
    first, second = manifest.rows
    assert (first.line, second.line) == (2, 4)
    assert (first.start_s, first.end_s, first.session_id) == (0.5, 2.0, "s1")
    assert first.sources == {"text": "one\nline, two"}
    assert second.sources == {"features_a": "[1, 2]"}
    assert first.label_C == (1.0, 0.0)
    assert first.groups == {"group_sex": "f"}
    assert manifest.where(4) == f"{path}:4"


def test_every_problem_at_once_with_file_and_line(table):
    path = table(
        "sample_id,person_id,audio,start_s,end_s,label,split",
        "a,p1,missing.wav,0,1,joy,train",
        "a,p1,,nine,1,joi,test",
        ",p2,../up.wav,3,1,fear,training",
        "c,,,-1,inf,,train",
        ",,,,,,",
        "d,p4,,0,1,joy,train,more,cells",
    )
    said = refused(path)
    for line, words in [
        (2, "audio: no such file"),
        (3, "start_s: expected a number"),
        (3, "unknown label 'joi'; the study knows joy, fear (did you mean 'joy'?)"),
        (3, "sample_id stands twice; the first is line 2"),
        (3, "a person in two splits"),
        (4, "sample_id is empty"),
        (4, "outside the manifest's folder"),
        (4, "end_s: expected more than start_s"),
        (4, "split: expected train, validation, test"),
        (5, "person_id is empty"),
        (5, "start_s: expected 0 or more"),
        (5, "end_s: expected a number"),
        (5, "label is empty"),
        (6, "the row is empty"),
        (7, "9 cells, but the header names 7"),
    ]:
        assert any(f"{path}:{line}: " in m and words in m for m in said.splitlines()), words


def test_twenty_problems_are_shown_and_the_rest_counted(table):
    said = refused(table(HEADER, *[f"s{i},p{i},hello,anger" for i in range(57)]))
    assert len(said.splitlines()) == 21
    assert said.splitlines()[-1] == "… and 37 more problems"


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("sample_id,text,label", "column 'person_id' is missing"),
        ("person_id,text,label", "column 'sample_id' is missing"),
        ("sample_id,person_id,label", "at least one modality column"),
        ("sample_id,person_id,text", "at least one label column"),
        ("sample_id,person_id,text,text,label", "column 'text' stands twice"),
        ("", "the file is empty"),
    ],
)
def test_missing_columns(table, header, words):
    assert words in refused(table(header))


def test_a_table_without_rows_is_refused(table):
    assert "no rows" in refused(table(HEADER))


def test_modalities_of_the_study_only(table):
    path = table("sample_id,person_id,text,audio,label", "a,p,hello,missing.wav,joy")
    assert read(path, modalities=["text", "video"]).modalities == ("text",)
    assert "none of the study's modalities (image)" in refused(path, modalities=["image"])


def test_label_dist_wins_and_is_brought_to_one(table):
    path = table(
        "sample_id,person_id,text,label,label_dist",
        'a,p,hello,joy,"{""joy"": 0.25, ""fear"": 0.76}"',
        "b,p,hello,joy,",
    )
    first, second = read(path).rows
    assert first.label_C == pytest.approx((0.25 / 1.01, 0.76 / 1.01))
    assert second.label_C == (1.0, 0.0)


@pytest.mark.parametrize(
    "cell",
    [
        "0.3",
        "[1]",
        '{"joy": 2}',
        '{"joy": "1"}',
        '{"joy": NaN}',
        '{"joy": 0.4}',
        '{"anger": 1}',
        "{",
    ],
)
def test_bad_label_dist(table, cell):
    quoted = cell.replace('"', '""')
    path = table("sample_id,person_id,text,label_dist", f'a,p,hello,"{quoted}"')
    assert "label_dist" in refused(path)


def test_labels_may_be_absent_for_prediction(table):
    path = table("sample_id,person_id,text", "a,p,hello")
    assert read(path, labels=False).rows[0].label_C == ()


class TestConsent:
    HEADER = "sample_id,person_id,text,label,consent_scope,consent_until,withdrawn"

    def test_only_what_is_covered_is_used_and_the_rest_is_counted(self, table):
        path = table(
            self.HEADER,
            "a,p1,x,joy,research;care,2026-03-01,false",
            "b,p2,x,joy,care,2030-01-01,no",
            "c,p3,x,joy,,2030-01-01,",
            "d,p4,x,joy,research,2026-02-28,",
            "e,p5,x,joy,research,,yes",
            "f,p6,x,joy,care research,,0",
        )
        manifest = read(path)
        assert [row.sample_id for row in manifest.rows] == ["a", "f"]
        assert manifest.left_out == {
            "consent does not cover 'research'": 2,
            "consent has run out": 1,
            "consent was withdrawn": 1,
        }

    def test_a_withdrawn_row_needs_no_files(self, table):
        path = table(
            "sample_id,person_id,audio,label,withdrawn",
            "a,p1,gone.wav,joy,true",
            "b,p2,,fear,false",
        )
        assert [row.sample_id for row in read(path).rows] == ["b"]

    def test_a_cell_that_cannot_be_understood_is_reported(self, table):
        said = refused(table(self.HEADER, "a,p1,x,joy,research,next year,maybe"))
        assert "withdrawn: expected true or false" in said

    def test_nothing_left_is_an_error_that_says_why(self, table):
        said = refused(table(self.HEADER, "a,p1,x,joy,care,,"))
        assert "no row is left; 1 left out: consent does not cover 'research'" in said


class TestPaths:
    @pytest.mark.parametrize(
        "cell", ["../secret.txt", "/etc/hostname.txt", "link.txt", "dir/x.txt"]
    )
    def test_nothing_outside_the_folder(self, table, tmp_path, cell):
        (tmp_path / "secret.txt").write_text("secret")
        (tmp_path / "away").mkdir()
        (tmp_path / "away" / "x.txt").write_text("secret")
        path = table(HEADER, f"a,p,{cell},joy")
        (path.parent / "link.txt").symlink_to(tmp_path / "secret.txt")
        (path.parent / "dir").symlink_to(tmp_path / "away")
        assert "outside the manifest's folder" in refused(path)

    def test_a_link_inside_the_folder_is_fine(self, table):
        path = table(HEADER, "a,p,link.txt,joy")
        (path.parent / "real.txt").write_text("hello")
        (path.parent / "link.txt").symlink_to("real.txt")
        assert read(path).rows[0].sources["text"] == (path.parent / "real.txt").resolve()

    def test_a_loop_of_links_or_a_path_with_zero_is_refused(self, table):
        path = table("sample_id,person_id,audio,label", "a,p,loop.wav,joy")
        (path.parent / "loop.wav").symlink_to("loop.wav")
        assert "audio:" in refused(path)
        assert "audio:" in refused(table("sample_id,person_id,audio,label", "a,p,a\0b.wav,joy"))


class TestParquet:
    def test_equal_to_csv_with_list_columns_and_missing_values(self, tmp_path):
        path = tmp_path / "manifest.parquet"
        pd.DataFrame(
            {
                "sample_id": ["a", "b"],
                "person_id": [1001, 1002],
                "features": [np.array([1.0, 2.0]), None],
                "start_s": [0.5, np.nan],
                "text": [None, "hello"],
                "label": ["joy", "fear"],
            }
        ).to_parquet(path)
        manifest = read(path)
        first, second = manifest.rows
        assert (first.person_id, first.start_s, first.sources) == (
            "1001",
            0.5,
            {"features": (1, 2)},
        )
        assert (second.start_s, second.sources) == (0.0, {"text": "hello"})
        assert manifest.where(2) == f"{path}: row 2"

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "manifest.parquet: the file is empty"),
            (b"PAR1", "manifest.parquet: not a readable Parquet file"),
            (b"PAR1" + bytes(200) + b"PAR1", "manifest.parquet: not a readable Parquet file"),
        ],
    )
    def test_damaged(self, tmp_path, content, said):
        path = tmp_path / "manifest.parquet"
        path.write_bytes(content)
        assert said in refused(path)


def test_files_that_are_no_table(tmp_path):
    assert f"{tmp_path / 'none.csv'}: no such file" in refused(tmp_path / "none.csv")
    (tmp_path / "x.xlsx").write_bytes(b"PK")
    assert ".csv or .parquet" in refused(tmp_path / "x.xlsx")
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"\na,p,caf\xe9,joy\n")
    assert "UTF-8" in refused(tmp_path / "latin.csv")
    (tmp_path / "open.csv").write_text(HEADER + '\na,p,"never closed,joy\n')
    assert "not well-formed CSV" in refused(tmp_path / "open.csv")
    (tmp_path / "folder.csv").mkdir()
    assert f"such as {tmp_path / 'folder.csv' / 'manifest.csv'}" in refused(tmp_path / "folder.csv")
    (tmp_path / "german.csv").write_text("sample_id;person_id;label\na;p;joy\n")
    assert "parted by ';'; expected commas" in refused(tmp_path / "german.csv")
    (tmp_path / "other.csv").write_text("clip,subject\na,p\n")
    assert "its columns are clip, subject; `tacit data import csv" in refused(
        tmp_path / "other.csv"
    )


def test_a_huge_sparse_table_is_refused_unread(tmp_path):
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.truncate(10 << 30)
    assert "at most" in refused(path)


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.lists(CELLS, min_size=6, max_size=6), min_size=1, max_size=6))
def test_any_cells_end_in_a_manifest_or_in_one_clear_error(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("fuzz") / "manifest.csv"
    header = ["sample_id", "person_id", "audio", "features", "start_s", "label_dist"]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    rows_read, said = outcome(path)
    assert str(path) in said if said else all(r.sample_id and r.person_id for r in rows_read)


def outcome(path):
    try:
        return read(path, labels=False).rows, ""
    except DataError as error:
        return (), str(error)


@settings(max_examples=40, deadline=None)
@given(content=st.binary(max_size=300), suffix=st.sampled_from([".csv", ".parquet", ".tsv"]))
def test_any_bytes_end_in_one_clear_error(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("fuzz") / f"manifest{suffix}"
    path.write_bytes(content)
    assert str(path.name) in refused(path)


def test_shares_add_up_whatever_their_order(table):
    shares = json.dumps({"fear": 0.5, "joy": 0.5}).replace('"', '""')
    path = table("sample_id,person_id,text,label_dist", f'a,p,x,"{shares}"')
    assert read(path).rows[0].label_C == (0.5, 0.5)
