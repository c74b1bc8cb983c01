"""Encoders of every family, loaded from files and run as front ends of a study."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from client.data.encoders.folder import look_through
from client.data.encoders.frozen import find_frozen
from client.data.encoders.loading import load_parts
from client.data.features.text import text_hash
from common.config import FrozenEncoder, Modality
from common.errors import ConfigError, DataError
from common.inputs import front_end_of, options_of

CPU = torch.device("cpu")
WIDTH = 16
WHOLE = (0.0, None)
AUDIO = ("hubert", "wav2vec2", "wavlm", "wavlm-large", "whisper")
IMAGE = ("clip", "convnext", "dinov2", "vit")
TEXT = ("bert", "roberta")


def opened(path: Path, modality: str, **options):
    settings = {"model": path.name, "sha256": look_through(path).sha256, "dim": WIDTH, **options}
    chosen = Modality(front_end="encoder", options=settings)
    known = {path.name: FrozenEncoder(str(path))}
    name, complete = front_end_of(modality, chosen), options_of(modality, chosen)
    return find_frozen(name, complete, known, CPU)


def one(frozen, source, window=WHOLE):
    ((_, found),) = frozen.vectors([("k", source, window)])
    if isinstance(found, DataError):
        raise found
    return found


@pytest.fixture
def voice(make, tmp_path):
    return lambda name, seconds, hz=150.0: make.wav(
        tmp_path / f"{name}.wav", make.tone(seconds, hz)
    )


def check(vector):
    assert vector.shape == (WIDTH,)
    assert vector.dtype == np.float32
    assert np.isfinite(vector).all()
    assert np.abs(vector).max() <= 5
    assert abs(float(vector.mean())) < 1e-3
    assert 0.7 < float(vector.std()) < 1.01


class TestFamilies:
    @pytest.mark.parametrize("name", AUDIO)
    def test_sound(self, encoder_store, voice, name, no_network):
        frozen = opened(encoder_store(name), "audio")
        low, high = (one(frozen, voice(f"v{hz}", 1.0, hz)) for hz in (110.0, 260.0))
        check(low)
        assert not np.allclose(low, high, atol=1e-3)
        assert not any(
            values.requires_grad for values in frozen.kind._runner.parts.network.parameters()
        )

    @pytest.mark.parametrize("name", TEXT)
    def test_text(self, encoder_store, name, tmp_path, no_network):
        frozen = opened(encoder_store(name), "text")
        glad, sad = one(frozen, "so glad"), one(frozen, "much too sad")
        check(glad)
        assert not np.allclose(glad, sad, atol=1e-3)
        (tmp_path / "x.txt").write_text("so glad")
        assert np.array_equal(one(frozen, tmp_path / "x.txt"), glad)
        check(one(frozen, "a text longer than the encoder reads at once " * 20))

    @pytest.mark.parametrize("name", IMAGE)
    @pytest.mark.parametrize("pooling", ["mean", "first"])
    def test_pictures(self, encoder_store, make, tmp_path, name, pooling, no_network):
        frozen = opened(encoder_store(name), "image", pooling=pooling)
        first, other = (one(frozen, make.picture(tmp_path / f"{k}.png", seed=k)) for k in (0, 1))
        check(first)
        assert not np.allclose(first, other, atol=1e-3)

    @pytest.mark.parametrize("name", IMAGE)
    def test_films(self, encoder_store, make, tmp_path, name, no_network):
        frozen = opened(encoder_store(name), "video", frames_hz=5.0)
        film = make.film(tmp_path / "f.mp4", seconds=2.0)
        whole, half = one(frozen, film), one(frozen, film, (0.0, 1.0))
        check(whole)
        assert not np.allclose(whole, half, atol=1e-4)

    def test_the_model_of_a_task_is_read_without_its_head(self, encoder_store):
        parts = load_parts(look_through(encoder_store("roberta")), "text", CPU)
        assert type(parts.network).__name__ == "RobertaModel"

    def test_a_joint_model_gives_the_part_that_reads_the_kind(self, encoder_store):
        parts = load_parts(look_through(encoder_store("clip")), "image", CPU)
        assert "Vision" in type(parts.network).__name__
        parts = load_parts(look_through(encoder_store("whisper")), "audio", CPU)
        assert type(parts.network).__name__ == "WhisperEncoder"


class TestWords:
    def test_hashed_words_follow_the_encoders_values_and_are_as_long(self, encoder_store):
        plain = opened(encoder_store("bert"), "text")
        both = opened(encoder_store("bert"), "text", words=64)
        texts = ["so glad", "much too sad", "x y " * 60]
        together = dict(both.vectors((text, text, WHOLE) for text in texts))
        for text in texts:
            encoded, hashed = np.split(together[text], [WIDTH])
            assert np.allclose(encoded, one(plain, text), atol=2e-4)
            assert np.allclose(hashed, WIDTH**0.5 * text_hash(text, 64), atol=1e-5)

    def test_words_of_a_file_are_hashed_too(self, encoder_store, tmp_path):
        both = opened(encoder_store("bert"), "text", words=64)
        (tmp_path / "x.txt").write_text("so glad")
        assert np.array_equal(one(both, tmp_path / "x.txt"), one(both, "so glad"))


class TestPooling:
    @pytest.mark.parametrize("name", AUDIO)
    def test_a_clip_does_not_depend_on_those_beside_it(self, encoder_store, voice, name):
        frozen = opened(encoder_store(name), "audio", chunk_s=1.0)
        clips = [(k, voice(f"c{k}", s, 100 + 40 * k), WHOLE) for k, s in
                 enumerate((0.4, 2.7, 1.0, 0.05, 3.0))]  # fmt: skip
        together = dict(frozen.vectors(clips))
        assert sorted(together) == [0, 1, 2, 3, 4]
        for key, source, window in clips:
            assert np.allclose(together[key], one(frozen, source, window), atol=2e-4), key

    def test_texts_of_different_length_share_a_batch(self, encoder_store):
        frozen = opened(encoder_store("roberta"), "text")
        texts = ["a", "somewhat longer", "x" * 500]
        together = dict(frozen.vectors((text, text, WHOLE) for text in texts))
        assert all(np.allclose(together[text], one(frozen, text), atol=2e-4) for text in texts)

    def test_chunks_are_weighed_by_what_they_hold(self, encoder_store, voice):
        frozen = opened(encoder_store("wavlm"), "audio", chunk_s=1.0)
        found = {}
        source = voice("long", 2.5, 200.0)
        for window in ((0.0, 1.0), (1.0, 2.0), (2.0, 2.5)):
            states, known = frozen.kind.run([*frozen.kind.pieces(source, window)])
            assert known.all()
            found[window] = states[0].double()
        mean_F = torch.cat([*found.values()]).mean(dim=0).numpy()
        expected = (mean_F - mean_F.mean()) / mean_F.std()
        assert np.allclose(one(frozen, source), np.clip(expected, -5, 5), atol=1e-4)

    def test_whisper_hears_the_recording_and_not_its_padding(self, encoder_store, voice):
        frozen = opened(encoder_store("whisper"), "audio")
        (piece,) = frozen.kind.pieces(voice("short", 3.0), WHOLE)
        states, known = frozen.kind.run([piece])
        assert states.shape[1] == 1500
        assert int(known.sum()) == 150

    @pytest.mark.parametrize("layer", [-3, -2, 0, 1, 2])
    def test_layers(self, encoder_store, voice, layer):
        source = voice("v", 1.0)
        found = one(opened(encoder_store("wavlm"), "audio", layer=layer), source)
        check(found)
        same = one(opened(encoder_store("wavlm"), "audio", layer=layer % 3), source)
        assert np.array_equal(found, same)

    def test_constants_of_the_study_shift_and_scale(self, encoder_store, voice):
        source = voice("v", 1.0)
        plain = one(opened(encoder_store("wavlm"), "audio"), source)
        moved = one(opened(encoder_store("wavlm"), "audio", centre=0.5, scale=2.0), source)
        assert np.allclose(moved, (plain - 0.5) / 2, atol=1e-5)

    def test_a_clip_that_cannot_be_read_keeps_no_other_from_it(
        self, encoder_store, voice, tmp_path
    ):
        frozen = opened(encoder_store("wavlm"), "audio")
        (tmp_path / "bad.wav").write_bytes(b"RIFF")
        clips = [("bad", tmp_path / "bad.wav", WHOLE), ("good", voice("v", 1.0), WHOLE),
                 ("late", voice("v", 1.0), (7.0, 9.0))]  # fmt: skip
        found = dict(frozen.vectors(clips))
        assert isinstance(found["bad"], DataError)
        assert isinstance(found["late"], DataError)
        check(found["good"])


class TestRefusals:
    def test_an_encoder_that_the_site_does_not_have(self, encoder_store):
        chosen = Modality("encoder", options={"model": "x", "sha256": "0" * 64, "dim": 4})
        with pytest.raises(ConfigError, match=r"no encoder 'x'.*TACIT_ENCODERS"):
            find_frozen("audio_encoder", options_of("audio", chosen), {}, CPU)

    def test_other_files_than_the_studys(self, encoder_store):
        with pytest.raises(ConfigError, match="the study expects"):
            opened(encoder_store("wavlm"), "audio", sha256="0" * 64)

    def test_other_files_than_the_sites(self, encoder_store):
        path = encoder_store("wavlm")
        sha256 = look_through(path).sha256
        chosen = Modality("encoder", options={"model": "m", "sha256": sha256, "dim": WIDTH})
        own = {"m": FrozenEncoder(str(path), sha256="1" * 64)}
        with pytest.raises(ConfigError, match=r"policy\.yaml expects"):
            find_frozen("audio_encoder", options_of("audio", chosen), own, CPU)

    def test_another_size_than_declared(self, encoder_store):
        with pytest.raises(ConfigError, match=r"options\.dim is 17; wavlm gives 16"):
            _ = opened(encoder_store("wavlm"), "audio", dim=17).kind

    def test_a_layer_that_is_not_there(self, encoder_store):
        with pytest.raises(ConfigError, match="expected -3 to 2"):
            _ = opened(encoder_store("wavlm"), "audio", layer=3).kind

    @pytest.mark.parametrize(
        ("name", "modality", "said"),
        [
            ("wavlm", "text", "expected a tokenizer"),
            ("roberta", "audio", r"expected preprocessor_config\.json"),
            ("dinov2", "audio", "not an encoder of audio"),
        ],
    )
    def test_an_encoder_of_another_kind(self, encoder_store, name, modality, said):
        with pytest.raises(ConfigError, match=said):
            _ = opened(encoder_store(name), modality).kind

    def test_without_its_processor(self, copied):
        path = copied("wavlm")
        (path / "preprocessor_config.json").unlink()
        with pytest.raises(ConfigError, match=r"expected preprocessor_config\.json"):
            _ = opened(path, "audio").kind

    def test_weights_that_lack_a_tensor_would_be_drawn_at_random(self, copied):
        path = copied("wavlm")
        weights = load_file(path / "model.safetensors")
        del weights["encoder.layers.1.feed_forward.output_dense.weight"]
        save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ConfigError, match="drawn at random"):
            _ = opened(path, "audio").kind

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"hidden_size": 8192, "intermediate_size": 65536}, "describes"),
            ({"hidden_size": 32}, "not an encoder of audio"),
            ({"model_type": "of-our-own"}, "not an encoder of audio"),
            ({"conv_dim": []}, "not an encoder of audio"),
        ],
    )
    def test_a_description_that_does_not_fit_the_weights(self, copied, changes, said):
        path = copied("wavlm")
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(ConfigError, match=said):
            _ = opened(path, "audio").kind

    def test_another_rate(self, copied):
        path = copied("wavlm")
        config = json.loads((path / "preprocessor_config.json").read_text())
        (path / "preprocessor_config.json").write_text(
            json.dumps({**config, "sampling_rate": 8000})
        )
        with pytest.raises(ConfigError, match="8000 Hz"):
            _ = opened(path, "audio").kind

    def test_without_transformers(self, encoder_store, monkeypatch):
        import sys

        from common.errors import EnvironmentFault

        frozen = opened(encoder_store("wavlm"), "audio")
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(EnvironmentFault, match="pip install"):
            _ = frozen.kind
