"""Which sites a sum was confirmed over outlives the coordinator."""

import pytest

from common.errors import ConfigError
from server.confirming import CONFIRMING, Confirming


def test_the_newest_set_of_each_task_reads_back(tmp_path):
    kept = Confirming(tmp_path)
    kept.keep("train", 1, ("mill", "hill"))
    kept.keep("train", 2, ("lake", "hill"))
    kept.keep("evaluate", 1, ("mill",))
    again = Confirming(tmp_path)
    assert again.sites("train", 2) == ("hill", "lake")
    assert again.sites("train", 1) == ()
    assert again.sites("evaluate", 1) == ("mill",)
    assert Confirming().sites("train", 2) == ()


@pytest.mark.parametrize("text", ["", "[]", '{"train": 3}', '{"train": ["x", []]}'])
def test_a_damaged_file_is_refused(tmp_path, text):
    (tmp_path / CONFIRMING).write_text(text)
    with pytest.raises(ConfigError, match="is damaged"):
        Confirming(tmp_path)
