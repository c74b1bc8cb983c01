"""Material for `tacit bench features`: encoders with random weights, clips, long recordings."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soundfile as sf
import torch
from PIL import Image

from client.data.encoders.folder import look_through
from client.data.encoders.frozen import Frozen, find_frozen
from client.data.encoders.loading import write_untrained
from client.data.readers.audio import RATE_HZ
from common.config import FrozenEncoder, Modality
from common.inputs import front_end_of, options_of

FILM_HZ, FILM_SIZE = 5, (64, 48)
PICTURE_SIZE = (320, 240)
SHORTEST_S, LONGEST_S = 1.0, 12.0


@dataclass(frozen=True)
class Recipe:
    """An encoder to be written: its family, its sizes, what reads for it.

    Args:
        modality: that it reads.
        network: as transformers begins its names.
        processor: its class.
        settings: of the network.
        reading: settings of the processor.
    """

    modality: str
    network: str
    processor: str
    settings: Mapping[str, Any]
    reading: Mapping[str, Any]

    @property
    def dim(self) -> int:
        """Features of a clip."""
        return int(self.settings["hidden_size"])


def _speech(width: int, layers: int, channels: int) -> Recipe:
    settings = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 4 * width,
        "conv_dim": (channels,) * 7,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
    }
    return Recipe(
        "audio", "Hubert", "Wav2Vec2FeatureExtractor", settings, {"return_attention_mask": True}
    )


def _vision(width: int, layers: int, side: int, modality: str) -> Recipe:
    settings = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 4 * width,
        "image_size": side,
        "patch_size": 16,
    }
    size = {"size": {"height": side, "width": side}}
    return Recipe(modality, "ViT", "ViTImageProcessorPil", settings, size)


MEASURED = {"speech": _speech(256, 4, 128), "pictures": _vision(192, 6, 224, "image")}
"""What throughput is measured with: a small part of what published encoders have."""
LIGHT = {"WAV": _speech(32, 1, 16), "film": _vision(32, 1, 32, "video")}
"""What memory over long recordings is measured with: light, so that hours take a minute."""


def write_encoder(recipe: Recipe, folder: Path) -> Path:
    """Write an encoder with random weights; returns its folder."""
    write_untrained(folder, recipe.network, recipe.processor, recipe.settings, recipe.reading)
    return folder


def open_encoder(recipe: Recipe, folder: Path) -> Frozen:
    """Return an encoder as a study's front end, on the processor."""
    options = {"model": folder.name, "sha256": look_through(folder).sha256, "dim": recipe.dim}
    asked = Modality("encoder", options=options)
    name, complete = front_end_of(recipe.modality, asked), options_of(recipe.modality, asked)
    known = {folder.name: FrozenEncoder(str(folder))}
    return find_frozen(name, complete, known, torch.device("cpu"))


def write_clips(modality: str, count: int, folder: Path) -> list[Path]:
    """Write short recordings of different lengths, or pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        if modality == "image":
            path = folder / f"{number}.png"
            pixels = rng.integers(0, 255, (*PICTURE_SIZE[::-1], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
        else:
            path = folder / f"{number}.wav"
            seconds = float(rng.uniform(SHORTEST_S, LONGEST_S))
            sf.write(path, _noise(rng, seconds), RATE_HZ, subtype="PCM_16")
        paths.append(path)
    return paths


def write_long(modality: str, minutes: int, path: Path) -> Path:
    """Write a long recording, piece by piece: speech-like noise, or a film that changes."""
    if modality == "video":
        _write_film(path, minutes * 60)
        return path
    rng = np.random.default_rng(1)
    with sf.SoundFile(path, "w", RATE_HZ, 1, subtype="PCM_16") as file:
        for _ in range(minutes):
            file.write(_noise(rng, 60.0))
    return path


def _noise(rng: np.random.Generator, seconds: float) -> npt.NDArray[np.float64]:
    return 0.05 * rng.standard_normal(int(seconds * RATE_HZ))


def _write_film(path: Path, seconds: int) -> None:
    width, height = FILM_SIZE
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(FILM_HZ))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        picture = np.zeros((height, width, 3), dtype=np.uint8)
        for number in range(seconds * FILM_HZ):
            picture[:, :, number % 3] = number % 251
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
