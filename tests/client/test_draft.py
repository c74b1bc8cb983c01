"""A first study for recordings that have none: what it holds, with privacy and without."""

import pytest

from client.draft import UNDER_PRIVACY, draft_study
from common.budget import resolved
from common.errors import DataError
from common.ratings import Dimension
from common.settings import differences_yaml, load_study
from common.sums import parameters_of


@pytest.fixture
def drafted(tiny_data, tmp_path):
    """The draft over the tiny corpus, and its file read with settings on top."""
    manifests = tuple(sorted((tiny_data.root / "sites").glob("*/manifest.csv")))
    study, path = draft_study("mine", manifests), tmp_path / "mine.yaml"
    path.write_text(differences_yaml(study) + UNDER_PRIVACY)
    return study, lambda *settings: load_study(str(path), settings)


def test_without_privacy_the_file_holds_the_study_that_was_drafted(drafted):
    study, load = drafted
    assert load() == study
    assert set(study.classes) == {"serene", "joyful", "aching"}
    assert set(study.modalities) == {"features_a", "features_b"}


@pytest.mark.parametrize("mode", ["local", "distributed"])
@pytest.mark.parametrize("epsilon", [1, 8])
def test_a_private_mode_alone_is_enough_to_run_it_privately(drafted, mode, epsilon):
    study, load = drafted
    private = load(f"privacy.mode={mode}", f"privacy.target_epsilon={epsilon}")
    assert study.normalise == "federated"
    assert private.normalise == "none"
    assert private.privacy.sampling_rate == 1
    sigma = resolved(private, 4, parameters_of(private)).privacy.noise_multiplier
    assert sigma is not None
    assert sigma > 1


def test_less_epsilon_takes_shorter_steps(drafted):
    _, load = drafted
    for mode in ("local", "distributed"):
        at = (f"privacy.mode={mode}", "privacy.target_epsilon=1")
        short, long = load(*at), load(at[0])
        assert short.training.server_learning_rate < long.training.server_learning_rate


def rated(tmp_path, name, *rows, columns="valence,arousal"):
    path = tmp_path / f"{name}.csv"
    path.write_text(f"sample_id,person_id,text,{columns}\n" + "\n".join(rows) + "\n")
    return path


def test_ratings_become_dimensions_on_the_narrowest_usual_scale_that_holds_them(tmp_path):
    one = rated(tmp_path, "one", "a,p,hi,1.5,-0.5", "b,q,hi,4,")
    other = rated(tmp_path, "two", "c,r,hi,5,0.9", "d,s,hi,,1")
    study = draft_study("mine", (one, other))
    assert study.classes == ()
    assert study.dimensions == {"valence": Dimension(1, 5), "arousal": Dimension(-1, 1)}
    path = tmp_path / "mine.yaml"
    path.write_text(differences_yaml(study) + UNDER_PRIVACY)
    assert load_study(str(path)) == study


def test_a_rating_that_one_site_lacks_is_left_out_and_nothing_to_learn_is_refused(tmp_path):
    one = rated(tmp_path, "one", "a,p,hi,1.5,2")
    other = rated(tmp_path, "two", "c,r,hi,5", columns="valence")
    assert set(draft_study("mine", (one, other)).dimensions) == {"valence"}
    with pytest.raises(DataError, match="0 classes and 1 modalities"):
        draft_study("mine", (rated(tmp_path, "three", "a,p,hi,,"),))
