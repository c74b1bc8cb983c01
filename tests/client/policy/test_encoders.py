"""A study may only run weights that the site has looked at, under a name that the site gave."""

from dataclasses import replace
from datetime import date

import pytest

from client.folder import SiteFolder
from client.policy import gate_study
from common.approval import Ethics
from common.config import FrozenEncoder, Modality, SitePolicy, Study
from common.errors import ConfigError, PolicyRefused
from common.settings import load_policy

SHA = "0123456789abcdef" * 4
OPTIONS = {"model": "wavlm-base", "sha256": SHA, "dim": 768}
STUDY = Study(
    name="voices",
    classes=("joy", "fear"),
    modalities={"audio": Modality("encoder", options=OPTIONS)},
)


def policy(**encoders):
    return SitePolicy(
        site="hill",
        studies=("voices",),
        purposes=("research",),
        ethics=Ethics("EK 1", "2099-01-01"),
        allow_without_privacy=True,
        suite="x25519",
        encoders={name.replace("_", "-"): one for name, one in encoders.items()},
    )


def asked(found):
    gate_study(found, STUDY, date(2026, 1, 1))


def test_a_study_passes_with_an_encoder_that_the_site_has():
    for encoder in (FrozenEncoder("models/wavlm"), FrozenEncoder("models/wavlm", sha256=SHA)):
        asked(policy(wavlm_base=encoder))
        with pytest.raises(PolicyRefused, match=r"'wavlm-base'.*policy\.yaml, encoders"):
            asked(policy(wavlm_large=encoder))


def test_without_it_the_study_is_refused():
    with pytest.raises(PolicyRefused, match=r"'wavlm-base'.*policy\.yaml, encoders"):
        asked(policy())
    with pytest.raises(PolicyRefused, match=r"\(other\)"):
        asked(policy(other=FrozenEncoder("models/other")))


def test_a_site_needs_no_encoder_for_a_modality_that_it_lacks():
    asked(replace(policy(), modalities=("text", "video")))
    with pytest.raises(PolicyRefused, match="encoders"):
        asked(replace(policy(), modalities=("text", "audio")))


def test_other_weights_than_the_site_accepts_are_refused():
    with pytest.raises(PolicyRefused, match=r"encoders\.wavlm-base\.sha256"):
        asked(policy(wavlm_base=FrozenEncoder("models/wavlm", sha256="f" * 64)))


def test_paths_start_at_the_sites_folder(tmp_path):
    inside, absolute = FrozenEncoder("models/wavlm"), FrozenEncoder("/srv/roberta", SHA)
    found = SiteFolder(tmp_path, policy(wavlm=inside, roberta=absolute)).encoders
    assert found["wavlm"].path == str(tmp_path / "models" / "wavlm")
    assert found["roberta"] == absolute


@pytest.mark.parametrize(
    "line",
    [
        "encoders: {wavlm: {sha256: abc, path: x}}",
        "encoders: {wavlm: {licence: mit}}",
        "encoders: {../x: {path: x}}",
        "encoders: {wavlm: {path: x, url: https://example.org}}",
    ],
)
def test_a_policy_that_describes_an_encoder_badly_is_refused(tmp_path, line):
    (tmp_path / "policy.yaml").write_text(f"site: hill\ndeclared_persons: 40\n{line}\n")
    with pytest.raises(ConfigError, match="line 3"):
        load_policy(tmp_path / "policy.yaml")


def test_a_policy_names_encoders(tmp_path):
    text = f"encoders:\n  wavlm-base: {{path: models/w, sha256: {SHA}, licence: mit}}\n"
    (tmp_path / "policy.yaml").write_text(f"site: hill\ndeclared_persons: 40\n{text}")
    found = load_policy(tmp_path / "policy.yaml").encoders
    assert found == {"wavlm-base": FrozenEncoder("models/w", SHA, "mit")}
