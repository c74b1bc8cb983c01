"""A frozen encoder as a front end: from clips to vectors of a fixed size."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from client.data.arrays import FloatArray
from client.data.encoders.folder import EncoderFolder, look_through
from client.data.encoders.kernels import with_onednn
from client.data.encoders.kinds import Kind, kind_for
from client.data.encoders.loading import load_parts
from client.data.encoders.pooling import POOLINGS, pooled
from client.data.features.base import Window
from client.data.features.text import source_text, text_hash
from client.data.features.vector import LIMIT, constant
from client.data.manifest import Source
from common.config import FrozenEncoder
from common.errors import ConfigError, DataError
from common.inputs import FRONT_ENDS, WORDS, Options

VERSION = 1
SMALLEST_SPREAD = 1e-6
K = TypeVar("K")


@dataclass(frozen=True)
class Frozen:
    """An encoder of the site that is the one a study names; loaded when it is first run.

    Args:
        front_end: its name, such as "audio_encoder".
        options: complete.
        folder: looked through; its hash is the study's.
        device: where it runs.
    """

    front_end: str
    options: Options
    folder: EncoderFolder
    device: torch.device

    @cached_property
    def kind(self) -> Kind:
        """The encoder, loaded, and tried on a piece.

        Raises:
            ConfigError: it cannot be loaded, or its output has not the size that the study says.
        """
        name = FRONT_ENDS[self.front_end].modality
        parts = load_parts(self.folder, "image" if name == "video" else name, self.device)
        if self.device.type == "cpu":
            with_onednn(parts.network)
        kind = kind_for(name, parts, self.options, self.device)
        found = try_out(kind, self.folder)
        if found != self.options["dim"]:
            raise ConfigError(
                f"options.dim is {self.options['dim']}; {self.options['model']} gives {found}."
            )
        return kind

    @property
    def record(self) -> dict[str, Any]:
        """What is kept beside features, see `record_of`."""
        return record_of(self.options["model"], self.folder)

    def vectors(
        self, clips: Iterable[tuple[K, Source, Window]]
    ) -> Iterator[tuple[K, FloatArray | DataError]]:
        """Yield each clip's features, or what is wrong with the clip; in any order.

        Guarantees: the encoder's values are finite and within ± 5; without a clip nothing is
        loaded. Hashed words follow them where the study asks for any: as long as the encoder's
        values are, so that neither drowns the other.
        """
        waiting = iter(clips)
        first = list(islice(waiting, 1))
        if not first:
            return
        pieces = (
            ((key, source), self.kind.pieces(source, window))
            for key, source, window in chain(first, waiting)
        )
        for (key, source), found in pooled(self.kind, self.options["pooling"], pieces):
            yield key, found if isinstance(found, DataError) else self._whole(found, source)

    def _whole(self, vector_F: FloatArray, source: Source) -> FloatArray:
        """Return an encoder's values, scaled, with hashed words behind them if there are to be."""
        scaled_F = self._scaled(vector_F)
        if not self.options.get(WORDS):
            return scaled_F
        hashed_F = text_hash(source_text(source), self.options[WORDS])
        return np.concatenate([scaled_F, np.float32(math.sqrt(len(scaled_F))) * hashed_F])

    def _scaled(self, vector_F: FloatArray) -> FloatArray:
        """Return a vector of zero mean and unit size over its own features, then public scales."""
        spread = max(float(vector_F.std()), SMALLEST_SPREAD)
        even_F = (vector_F.astype(np.float64) - vector_F.mean()) / spread
        scaled_F = (even_F - constant("centre", self.options)) / constant("scale", self.options)
        return np.asarray(np.clip(np.nan_to_num(scaled_F), -LIMIT, LIMIT), dtype=np.float32)


def find_frozen(
    front_end: str,
    options: Options,
    encoders: Mapping[str, FrozenEncoder],
    device: torch.device | None = None,
) -> Frozen:
    """Return the encoder that a study names, as this site has it.

    Args:
        front_end: name in common.inputs.FRONT_ENDS.
        options: complete.
        encoders: name -> where it lies at this site, paths absolute.
        device: where it runs; None takes a GPU where there is one.

    Raises:
        ConfigError: the site has no such encoder, its folder is not fit to be loaded, or its
            files are not those that the study or the site expects.
    """
    name = options["model"]
    if name not in encoders:
        known = ", ".join(sorted(encoders)) or "none"
        raise ConfigError(
            f"This site has no encoder {name!r}; known here: {known}. "
            "A site names its folder in policy.yaml, encoders; elsewhere --encoder NAME=FOLDER or "
            "the environment variable TACIT_ENCODERS, a folder of such folders, does."
        )
    own = encoders[name]
    folder = look_through(Path(own.path), own.licence)
    for who, expected in (("the study", options["sha256"]), ("policy.yaml", own.sha256)):
        if expected and expected != folder.sha256:
            raise ConfigError(
                f"{folder.path}: {who} expects the encoder {name} with sha256 {expected}, these "
                f"files have {folder.sha256}; `tacit data encoder` shows them one by one."
            )
    used = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Frozen(front_end, options, folder, used)


def try_out(kind: Kind, folder: EncoderFolder) -> int:
    """Return how many features an encoder gives for a piece.

    Raises:
        ConfigError: it does not run.
    """
    try:
        states_BTF, known_BT = kind.run([kind.sample()])
        total_BF, _ = POOLINGS["mean"](states_BTF, known_BT)
    except Exception as error:  # files of others make the network raise whatever it likes
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ConfigError(f"{folder.path}: the encoder does not run: {reason}") from None
    return int(total_BF.shape[1])


def record_of(name: str, folder: EncoderFolder) -> dict[str, Any]:
    """Return what is kept beside features: which files made them, under which licence."""
    return {
        "encoder": name,
        "sha256": folder.sha256,
        "licence": folder.licence,
        "parameters": folder.parameters,
        "files": dict(folder.files),
        "papers": dict(folder.papers),
    }
