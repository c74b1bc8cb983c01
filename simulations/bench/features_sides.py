"""Two ways from the same clips to the same features: a plain DataLoader loop, and Tacit's."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile as sf
import torch
from PIL import Image
from torch.utils.data import DataLoader

from client.data.encoders.frozen import Frozen
from client.data.encoders.loading import Parts, load_parts
from client.data.extract import Heavy, extract
from client.data.features.vector import LIMIT
from client.data.readers.audio import RATE_HZ
from common.errors import DataError

BATCH = 8
Features = npt.NDArray[np.float32]
Side = Callable[[], Features]


class Clips(torch.utils.data.Dataset[Any]):
    """Files, decoded when they are asked for: what everybody writes first."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self._paths)

    def __getitem__(self, index: int) -> Any:
        """Return samples, or a picture."""
        path = self._paths[index]
        if path.suffix == ".png":
            return Image.open(path).convert("RGB")
        return sf.read(path, dtype="float32")[0]


def plain_side(frozen: Frozen, paths: Sequence[Path]) -> Side:
    """Return the loop: a DataLoader, the processor as collate function, batches of 8, the mean.

    Its network is loaded before it is timed, from the same files.
    """
    kind = "image" if frozen.front_end == "image_encoder" else "audio"
    parts = load_parts(frozen.folder, kind, frozen.device)
    process = parts.processor

    def collate(items: list[Any]) -> Any:
        if kind == "image":
            return process(images=items, return_tensors="pt")
        return process(items, sampling_rate=RATE_HZ, padding=True, return_tensors="pt")

    @torch.inference_mode()
    def run() -> Features:
        loader = DataLoader(Clips(paths), batch_size=BATCH, collate_fn=collate)
        return np.concatenate([_means(parts, batch) for batch in loader])

    return run


def _means(parts: Parts, batch: Any) -> Features:
    network: Any = parts.network
    states_BTF = network(**batch).last_hidden_state
    if "attention_mask" not in batch:
        return np.asarray(states_BTF.mean(dim=1))
    frames = network._get_feature_vector_attention_mask(
        states_BTF.shape[1], batch["attention_mask"]
    )
    total_BF = (states_BTF * frames[..., None]).sum(dim=1)
    return np.asarray(total_BF / frames.sum(dim=1, keepdim=True))


def tacit_side(frozen: Frozen, paths: Sequence[Path], cache: Callable[[], Path]) -> Side:
    """Return Tacit's own way, hashing and keeping included, into a new cache at each call.

    Its network is loaded before it is timed, too.

    Raises:
        DataError: a clip cannot be read.
    """
    extractor = Heavy(frozen)
    _ = frozen.kind

    def run() -> Features:
        found = np.zeros((len(paths), frozen.options["dim"]), dtype=np.float32)
        for one in extract(extractor, [(path, [(0.0, None)]) for path in paths], cache()):
            if isinstance(one.features, DataError):
                raise one.features
            found[one.number] = one.features[0]
        return found

    return run


def cpu_times(sides: Sequence[Side], repetitions: int) -> tuple[list[float], list[Features]]:
    """Return the least CPU time of each side, sides in turn, and what each found."""
    least, found = [float("inf")] * len(sides), [np.zeros(0, dtype=np.float32)] * len(sides)
    for _ in range(repetitions):
        for place, side in enumerate(sides):
            begun = time.process_time()
            found[place] = side()
            least[place] = min(least[place], time.process_time() - begun)
    return least, found


def difference(plain_NF: Features, tacit_NF: Features) -> float:
    """Return the largest difference between both sides' features, both at unit size."""
    even_NF = plain_NF - plain_NF.mean(axis=1, keepdims=True)
    even_NF = np.clip(even_NF / plain_NF.std(axis=1, keepdims=True), -LIMIT, LIMIT)
    return float(np.abs(even_NF - tacit_NF).max())
