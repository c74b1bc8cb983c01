"""A clip's targets, from a manifest's cells to the columns that the loss reads."""

from dataclasses import replace

import numpy as np
import pytest

from client.data.load import load_site_data
from common.config import Modality, Study, Training
from common.errors import DataError
from common.ratings import Dimension, Label

HEADER = "sample_id,person_id,text,label,label_dist,valence,cries"
STUDY = Study(
    name="rated",
    classes=("joy", "fear"),
    dimensions={"valence": Dimension(1, 5)},
    labels={"tears": Label("cries")},
    modalities={"text": Modality(options={"dim": 8})},
)
WHOLE = (
    "a,p1,hi,joy,,2,yes",
    'b,p1,hi,,"{""joy"": 0.4, ""fear"": 0.6}",,0.25',
    "c,p2,hi,,,5,",
    "d,p2,hi,fear,,,No",
    "e,p3,hi,,,,",
)


def read(path, study=STUDY, **changes):
    return load_site_data(replace(study, **changes), path)


def refused(path, study=STUDY, **changes):
    with pytest.raises(DataError) as refusal:
        read(path, study, **changes)
    return str(refusal.value)


def test_every_target_in_its_columns_and_zeros_where_nobody_said(table):
    y_NT = read(table(HEADER, *WHOLE)).y_NC
    assert y_NT.dtype == np.float32
    assert y_NT.tolist() == [
        pytest.approx([1, 0, 0.25, 0.75, 1, 0]),
        pytest.approx([0.4, 0.6, 0, 0, 0.25, 0.75]),
        pytest.approx([0, 0, 1, 0, 0, 0]),
        pytest.approx([0, 1, 0, 0, 0, 1]),
        pytest.approx([0, 0, 0, 0, 0, 0]),
    ]


def test_the_majority_takes_the_class_and_the_answer_with_the_most_votes(table):
    """Quotes Training: "majority" (the class or answer with the most votes)."""
    y_NT = read(table(HEADER, *WHOLE), training=Training(class_target="majority")).y_NC
    assert y_NT[1].tolist() == [0, 1, 0, 0, 0, 1]
    assert y_NT[0].tolist() == pytest.approx([1, 0, 0.25, 0.75, 1, 0])
    assert not y_NT[4].any()


def test_the_raters_shares_are_needed_where_a_study_trains_on_them(table):
    votes = Training(class_target="raters")
    said = refused(table(HEADER, *WHOLE), training=votes)
    assert [line.split(": ", 1)[0].rsplit(":", 1)[1] for line in said.splitlines()] == ["2", "5"]
    assert "label_dist is empty" in said
    bare = table("sample_id,person_id,text,label,valence,cries", "a,p1,hi,joy,2,yes")
    assert "column 'label_dist' is missing" in refused(bare, training=votes)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,p,hi,joy,,7,", ":2: valence: 7 is not in the study's range, 1 to 5 (valence)"),
        ("a,p,hi,joy,,many,", ":2: valence: expected a number, found 'many'"),
        ("a,p,hi,joy,,,perhaps", ":2: cries: expected a number, found 'perhaps'"),
        ("a,p,hi,joy,,,1.5", ":2: cries: 1.5 is not in yes, no, or a share from 0 to 1 (tears)"),
        ("a,p,hi,hope,,3,no", ":2: label: unknown label 'hope'"),
        ("a,p,hi,,,,", "no row has any of the study's targets"),
    ],
)
def test_a_rating_that_does_not_fit_is_refused_with_its_line(table, row, said):
    assert said in refused(table(HEADER, row))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("sample_id,person_id,text,label,cries", "column 'valence' is missing"),
        ("sample_id,person_id,text,label,valence", "from which the study reads the label tears"),
        ("sample_id,person_id,text,valence,cries", "a column label or label_dist for the study's"),
    ],
)
def test_what_a_study_asks_for_and_the_manifest_lacks_is_said(table, header, said):
    assert said in refused(table(header, "a,p,hi,3,1"))


def test_a_study_of_dimensions_alone_needs_no_class_and_reads_none(table):
    path = table("sample_id,person_id,text,valence", "a,p,hi,3", "b,q,hi,")
    y_NT = read(path, classes=(), labels={}).y_NC
    assert y_NT.tolist() == [[0.5, 0.5], [0, 0]]


def test_a_manifest_for_prediction_needs_none_of_the_columns(table):
    path = table("sample_id,person_id,text", "a,p,hi")
    data = load_site_data(STUDY, path, labels=False)
    assert data.y_NC.tolist() == [[0] * 6]
