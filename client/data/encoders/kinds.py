"""How each kind of recording is cut into pieces that an encoder reads, and how pieces are run.

A piece is a stretch of sound, a run of tokens or a picture. Long recordings become many, one
after another, and no more than a few are in memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from client.data.encoders.loading import Parts
from client.data.encoders.pixels import pixels_for
from client.data.features.base import Window
from client.data.features.text import source_text
from client.data.manifest import Source
from client.data.readers.audio import RATE_HZ
from client.data.readers.images import read_colour
from client.data.readers.media import film_pictures
from client.data.readers.sound import sound_windows
from common.errors import ConfigError, DataError
from common.inputs import Options

LEAST_SAMPLES = 1600
SAMPLE_SIDE = 256
MOST_TOKENS = 512
BATCH_SAMPLES, BATCH_TOKENS, BATCH_PICTURES = 64 * RATE_HZ, 4096, 8
"""Sizes of batches on a processor; larger ones of pictures leave its caches and take longer."""


@dataclass(frozen=True)
class Piece:
    """What an encoder reads at once.

    Args:
        value: samples, token ids or a picture as Pixels keeps it.
        size: samples, tokens, or 1 for a picture.
    """

    value: Any
    size: int


class Kind(Protocol):
    """A kind of recording, with an encoder that reads it.

    Args:
        budget: the size of a batch, padding included, that a processor is given at once.
        is_padded: whether pieces of different size may share a batch.
    """

    budget: int
    is_padded: bool

    def pieces(self, source: Source, window: Window) -> Iterator[Piece]:
        """Yield a clip's pieces in order, at least one."""

    def run(self, pieces: Sequence[Piece]) -> tuple[Tensor, Tensor]:
        """Return the hidden states (B, T, F) of a layer, and which are real, as (B, T)."""

    def sample(self) -> Piece:
        """Return a piece that holds nothing in particular, to try the encoder on."""


def kind_for(kind: str, parts: Parts, options: Options, device: torch.device) -> Kind:
    """Return what reads a kind of modality ("audio", "text", "image", "video") with an encoder.

    Raises:
        ConfigError: the encoder has no such layer, or works at another rate.
    """
    layer = options["layer"]
    if not -parts.layers - 1 <= layer <= parts.layers:
        raise ConfigError(
            f"options.layer is {layer}; expected {-parts.layers - 1} to {parts.layers} for "
            f"{options['model']}."
        )
    runner = Runner(parts, layer, device)
    if kind == "audio":
        return Sound(runner, options["chunk_s"])
    if kind == "text":
        return Words(runner)
    return Film(runner, options["frames_hz"]) if kind == "video" else Pictures(runner)


@dataclass(frozen=True)
class Runner:
    """A frozen network, the layer that is read, and where it runs."""

    parts: Parts
    layer: int
    device: torch.device

    @torch.inference_mode()
    def states(self, **inputs: Tensor) -> Tensor:
        """Return the hidden states of the layer as (B, T, F); maps become rows of places."""
        moved = {name: value.to(self.device) for name, value in inputs.items()}
        found: Any = self.parts.network(**moved, output_hidden_states=self.layer != -1)
        states: Tensor = (
            found.last_hidden_state if self.layer == -1 else found.hidden_states[self.layer]
        )
        return states.flatten(2).transpose(1, 2) if states.ndim == 4 else states


class Sound:
    """Sound at 16 kHz, in chunks of a fixed length.

    An extractor that gives no attention mask belongs to a network whose output depends on
    padding; such chunks share a batch only where they are equally long.
    """

    def __init__(self, runner: Runner, chunk_s: float) -> None:
        self._runner = runner
        extractor = runner.parts.processor
        rate_hz = getattr(extractor, "sampling_rate", RATE_HZ)
        if rate_hz != RATE_HZ:
            raise ConfigError(f"the encoder works at {rate_hz} Hz; expected {RATE_HZ}.")
        fixed = getattr(extractor, "n_samples", None)
        self._fixed = int(fixed) if fixed else None
        self._chunk_s = min(chunk_s, self._fixed / RATE_HZ) if self._fixed else chunk_s
        self.is_padded = bool(fixed or getattr(extractor, "return_attention_mask", False))
        self.budget = BATCH_SAMPLES * scale_of(runner.device)

    def pieces(self, source: Source, window: Window) -> Iterator[Piece]:
        """Yield chunks; a rest shorter than 0.1 s is left out, a clip that short is padded."""
        is_first = True
        for _, signal in sound_windows(Path(str(source)), self._chunk_s, *window):
            samples = signal.astype(np.float32)
            if is_first and len(samples) < LEAST_SAMPLES:
                samples = np.pad(samples, (0, LEAST_SAMPLES - len(samples)))
            if len(samples) >= LEAST_SAMPLES:
                yield Piece(samples, self._fixed or len(samples))
            is_first = False
        if is_first:
            raise DataError(f"{Path(str(source)).name}: no sound inside the window")

    def run(self, pieces: Sequence[Piece]) -> tuple[Tensor, Tensor]:
        """Return hidden states and which of them heard the recording and not the padding."""
        given = self._runner.parts.processor(
            [piece.value for piece in pieces],
            sampling_rate=RATE_HZ,
            padding="max_length" if self._fixed else True,
            return_tensors="pt",
        )
        states_BTF = self._runner.states(**given)
        frames = states_BTF.shape[1]
        length_B = torch.tensor([len(piece.value) for piece in pieces])
        if self._fixed:
            known_B = torch.ceil(length_B * frames / self._fixed)
        elif "attention_mask" in given:
            known_B = self._frames(given["attention_mask"], frames)
        else:
            known_B = torch.full((len(pieces),), frames)
        return states_BTF, torch.arange(frames)[None] < known_B[:, None]

    def sample(self) -> Piece:
        """Return half a second of silence."""
        samples = np.zeros(RATE_HZ // 2, dtype=np.float32)
        return Piece(samples, self._fixed or len(samples))

    def _frames(self, mask_BT: Tensor, frames: int) -> Tensor:
        length_B = mask_BT.sum(dim=1)
        to_frames = getattr(
            self._runner.parts.network, "_get_feat_extract_output_lengths", lambda length: length
        )
        known_B: Tensor = to_frames(length_B)
        return known_B if int(known_B.max()) <= frames else length_B * frames // mask_BT.shape[1]


class Words:
    """Text as tokens; one longer than the encoder reads is cut into several runs."""

    is_padded = True

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        tokenizer = runner.parts.processor
        if not getattr(tokenizer, "is_fast", False):
            raise ConfigError("expected a tokenizer with tokenizer.json")
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
        if tokenizer.pad_token is None:
            raise ConfigError("the tokenizer has no token to pad with")
        self._most = most_tokens(runner.parts)
        self.budget = BATCH_TOKENS * scale_of(runner.device)

    def pieces(self, source: Source, window: Window) -> Iterator[Piece]:
        """Yield runs of tokens."""
        given = self._runner.parts.processor(
            source_text(source),
            truncation=True,
            max_length=self._most,
            return_overflowing_tokens=True,
        )
        runs = given["input_ids"]
        if not runs or not runs[0]:
            raise DataError("the text has no token that the encoder knows")
        for ids in runs:
            yield Piece(ids, len(ids))

    def run(self, pieces: Sequence[Piece]) -> tuple[Tensor, Tensor]:
        """Return hidden states and which of them belong to a token."""
        given = self._runner.parts.processor.pad(
            {"input_ids": [piece.value for piece in pieces]}, return_tensors="pt"
        )
        mask_BT = given["attention_mask"]
        states_BTF = self._runner.states(input_ids=given["input_ids"], attention_mask=mask_BT)
        return states_BTF, mask_BT.bool()

    def sample(self) -> Piece:
        """Return a word."""
        ids = self._runner.parts.processor("a")["input_ids"]
        return Piece(ids, len(ids))


class Pictures:
    """Pictures as the encoder's own processor crops and scales them."""

    is_padded = True

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._pixels = pixels_for(runner.parts.processor)
        self.budget = BATCH_PICTURES * scale_of(runner.device, 16)

    def pieces(self, source: Source, window: Window) -> Iterator[Piece]:
        """Yield the picture."""
        yield self.piece(read_colour(Path(str(source))))

    def piece(self, picture: Image.Image) -> Piece:
        """Return one picture as the encoder reads it."""
        return Piece(self._pixels.of(picture), 1)

    def run(self, pieces: Sequence[Piece]) -> tuple[Tensor, Tensor]:
        """Return hidden states, all of them real."""
        pixels_BCHW = self._pixels.together([piece.value for piece in pieces])
        states_BTF = self._runner.states(pixel_values=pixels_BCHW)
        return states_BTF, torch.ones(states_BTF.shape[:2], dtype=torch.bool)

    def sample(self) -> Piece:
        """Return a grey picture."""
        return self.piece(Image.new("RGB", (SAMPLE_SIDE, SAMPLE_SIDE), "grey"))


class Film(Pictures):
    """A film as pictures at an even rate."""

    def __init__(self, runner: Runner, frames_hz: float) -> None:
        super().__init__(runner)
        self._frames_hz = frames_hz

    def pieces(self, source: Source, window: Window) -> Iterator[Piece]:
        """Yield pictures in order; at least the first of the window."""
        for picture in film_pictures(Path(str(source)), window, self._frames_hz):
            yield self.piece(picture)


def most_tokens(parts: Parts) -> int:
    """Return how many tokens an encoder reads at once, 512 at most."""
    config: Any = parts.network.config
    positions = int(getattr(config, "max_position_embeddings", 0) or MOST_TOKENS)
    table = getattr(getattr(parts.network, "embeddings", None), "position_embeddings", None)
    first = getattr(table, "padding_idx", None)
    usable = positions if first is None else positions - first - 1
    return min(usable, int(parts.processor.model_max_length), MOST_TOKENS)


def scale_of(device: torch.device, accelerated: int = 8) -> int:
    """Return how many times more a device takes at once than a processor."""
    return accelerated if device.type == "cuda" else 1
