import numpy as np

from common.affect import modality_views, shown, view_counts, view_lanes, view_uars

CLASSES = ("calm", "stressed")


def test_a_study_of_two_shows_each_modality_alone():
    assert modality_views(["video", "audio"]) == {
        "only audio": ("audio",),
        "only video": ("video",),
    }


def test_a_study_of_three_also_leaves_each_one_out():
    views = modality_views(["video", "audio", "text"])
    assert views["without text"] == ("audio", "video")
    assert len(views) == 6


def test_a_study_of_one_has_no_views():
    assert modality_views(["audio"]) == {}


def test_a_view_hides_the_other_modalities_and_invents_none():
    present_NM = np.array([[True, True, False], [True, False, True]])
    found_NM = shown(("text", "video"), ["video", "text", "audio"], present_NM)
    assert found_NM.tolist() == [[False, True, False], [False, False, True]]


def test_uar_counts_the_clips_that_show_something():
    y_NC = np.eye(2)[[0, 0, 1, 1, 1]]
    probabilities_NC = np.eye(2)[[0, 1, 1, 1, 0]]
    shown_NM = np.array([[True], [True], [True], [True], [False]])
    views = {"only audio": ("audio",)}
    lanes = view_counts("only audio", probabilities_NC, y_NC, CLASSES, shown_NM)
    assert set(lanes) == set(view_lanes(CLASSES, views))
    assert view_uars(lanes, CLASSES, views) == {"only audio": 0.75}


def test_a_view_that_no_clip_shows_has_no_figure():
    lanes = dict.fromkeys(view_lanes(CLASSES, {"only video": ("video",)}), 0)
    assert view_uars(lanes, CLASSES, {"only video": ("video",)}) == {"only video": None}
