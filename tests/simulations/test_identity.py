"""Who a person is, and to which group, never reaches a model: other names, equal weights.

Persons are renamed alike in all their clips; groups are dealt out anew, clip by clip.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

EVERYONE = ("split.folds=0", "training.num_server_rounds=1")
PRIVATE = ("privacy.target_epsilon=20", "privacy.sampling_rate=0.6")


def swapped(person: str) -> str:
    """Another person's place in the order of names; a different one for each."""
    return f"zz-{5 - int(person[-1])}"


def renamed(person: str) -> str:
    """Another name in the same place of the order: whom chance samples stays the same."""
    return f"zz-{int(person[-1])}-anew"


@pytest.fixture
def weights(run_tiny: Callable, own_data, write_manifest) -> Callable:
    """The weights that the corpus gives with other names and groups."""

    def play(pairs: tuple[str, ...], name: Callable[[str], str], group: str, label=None):
        for site, rows in own_data.rows.items():
            changed = tuple(replace(row, person_id=name(row.person_id)) for row in rows)
            if label:
                changed = tuple(replace(row, label=label) for row in changed)
            path = own_data.root / "sites" / site / "manifest.csv"
            write_manifest(path, changed, group=group)
        done = run_tiny(*EVERYONE, *pairs, data=own_data.root, reproducible=True)
        return load_file(done.run.model)

    return play


@pytest.mark.parametrize(
    ("pairs", "other"),
    [
        (("normalise=person",), swapped),
        (("normalise=federated", "model.fusion=transformer", "model.hidden=8"), swapped),
        (("privacy.mode=local", *PRIVATE), renamed),
        (("privacy.mode=distributed", *PRIVATE), renamed),
    ],
    ids=["by person", "federated", "noise at each site", "shared noise"],
)
def test_other_names_and_groups_give_equal_weights(weights, pairs, other):
    """The data guide says that who a person is never reaches a model."""
    before = weights(pairs, lambda person: person, "fmx")
    after = weights(pairs, other, "xxfm")
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)


def test_what_a_model_may_read_does_change_the_weights(weights):
    before = weights((), lambda person: person, "fmx")
    after = weights((), lambda person: person, "fmx", label="serene")
    assert any((after[name] != value).any() for name, value in before.items())
