"""Small encoders as files, made here: what loads them is what loads the real ones."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

WIDTH = 16
AUDIO = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 32, "conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16,
         "num_conv_pos_embedding_groups": 2}  # fmt: skip
TEXT = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "vocab_size": 300, "max_position_embeddings": 40}  # fmt: skip
VISION = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2,
          "intermediate_size": 32, "image_size": 32, "patch_size": 8}  # fmt: skip


@cache
def library():
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def _wave(name: str, **extra):
    t = library()
    config = getattr(t, f"{name}Config")(**AUDIO, **extra)
    has_mask = extra.get("feat_extract_norm") == "layer"
    extractor = t.Wav2Vec2FeatureExtractor(return_attention_mask=has_mask)
    return getattr(t, f"{name}Model")(config), extractor


def _whisper():
    t = library()
    config = t.WhisperConfig(
        d_model=WIDTH, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, vocab_size=100,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    return t.WhisperModel(config), t.WhisperFeatureExtractor()


def tokenizer():
    from tokenizers.pre_tokenizers import ByteLevel

    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(ByteLevel.alphabet())]
    vocab = {word: number for number, word in enumerate(words)}
    return library().RobertaTokenizer(vocab=vocab, merges=[])


def _clip():
    t = library()
    text = {**TEXT, "num_hidden_layers": 1}
    model = t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=8))
    return model, t.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32)


def _dinov2():
    t = library()
    processor = t.BitImageProcessorPil(size={"shortest_edge": 36}, crop_size=32)
    return t.Dinov2Model(t.Dinov2Config(**VISION)), processor


def _vit():
    t = library()
    processor = t.ViTImageProcessorPil(size={"height": 32, "width": 32})
    return t.ViTModel(t.ViTConfig(**VISION)), processor


def _convnext():
    t = library()
    config = t.ConvNextConfig(hidden_sizes=[4, 8, 12, WIDTH], depths=[1] * 4)
    return t.ConvNextModel(config), t.ConvNextImageProcessorPil(size={"shortest_edge": 32})


MAKERS: dict[str, Callable] = {
    "wavlm": lambda: _wave("WavLM"),
    "wavlm-large": lambda: _wave("WavLM", feat_extract_norm="layer", do_stable_layer_norm=True),
    "hubert": lambda: _wave("Hubert"),
    "wav2vec2": lambda: _wave("Wav2Vec2"),
    "whisper": _whisper,
    "roberta": lambda: (library().RobertaForMaskedLM(library().RobertaConfig(**TEXT)), tokenizer()),
    "bert": lambda: (library().BertModel(library().BertConfig(**TEXT)), tokenizer()),
    "clip": _clip,
    "dinov2": _dinov2,
    "vit": _vit,
    "convnext": _convnext,
}
CARD = "---\nlicense: mit\nlanguage: en\n---\n# A small encoder\n"


@pytest.fixture(scope="session")
def encoder_store(tmp_path_factory) -> Callable[[str], Path]:
    """Folder of an encoder by name; made once."""
    root = tmp_path_factory.mktemp("encoders")

    @cache
    def make(name: str) -> Path:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(len(name))
            model, processor = MAKERS[name]()
            for values in model.parameters():
                torch.nn.init.normal_(values, std=0.3)
        model.save_pretrained(root / name)
        processor.save_pretrained(root / name)
        (root / name / "README.md").write_text(CARD)
        return root / name

    return make


@pytest.fixture
def copied(encoder_store, tmp_path) -> Callable[[str], Path]:
    """A copy of an encoder's folder that a test may spoil."""

    def copy(name: str) -> Path:
        target = tmp_path / "models" / name
        target.mkdir(parents=True)
        for file in encoder_store(name).iterdir():
            (target / file.name).write_bytes(file.read_bytes())
        return target

    return copy


@pytest.fixture
def no_network(monkeypatch):
    """Every connection fails the test."""
    import socket

    def refuse(*_args, **_kwargs):
        pytest.fail("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
