"""From a picture to what an image encoder reads, equal to what its own processor makes of it.

A processor crops a picture and brings it to size, which leaves whole numbers from 0 to 255; then it
scales each number by itself, in every picture alike. So 256 values for each channel say what comes
of it, and looking them up costs a fifth of working them out. Where all that comes before is one
change of size, it is asked of the picture itself, and not by way of arrays.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from client.data.arrays import FloatArray

UNSCALED = {"do_rescale": False, "do_normalize": False}
AS_IT_IS = {"do_resize": False, "do_center_crop": False, "do_pad": False}
VALUES = 256
TRIED = ((97, 31), (31, 97), (600, 520))
"""Heights and widths of pictures on which a shorter way is tried before it is taken."""
Numbers = npt.NDArray[np.uint8]
Way = Callable[[Image.Image], Numbers]


@dataclass(frozen=True)
class Pixels:
    """What an encoder's processor makes of pictures, step by step.

    Args:
        processor: transformers' image processor.
        way: from a picture to whole numbers (C, H, W); None: the processor alone knows.
        table_CV: what becomes of each number in each channel.
    """

    processor: Any
    way: Way | None = None
    table_CV: FloatArray | None = None

    def of(self, picture: Image.Image) -> Any:
        """Return a picture as it is kept until its batch is run."""
        return self.way(picture) if self.way else _whole(self.processor, picture)

    def together(self, kept: Sequence[Any]) -> Tensor:
        """Return a batch of pictures as the encoder reads it."""
        if self.table_CV is None:
            return torch.from_numpy(np.stack(kept))
        return torch.from_numpy(looked_up(self.table_CV, kept))


def pixels_for(processor: Any) -> Pixels:
    """Return the shortest way that ends where the processor's own does.

    Guarantees: what an encoder reads equals what its processor returns, to the last bit: a shorter
    way is taken only where that holds of pictures of several shapes.
    """
    every = np.repeat(np.arange(VALUES, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    try:
        table_CV = _whole(processor, Image.fromarray(every), **AS_IT_IS).reshape(3, VALUES)
        for way in _ways(processor):
            found = Pixels(processor, way, table_CV)
            if all(_agrees(found, size) for size in TRIED):
                return found
    except Exception:  # a processor raises whatever it likes at options that it does not know
        return Pixels(processor)
    return Pixels(processor)


def looked_up(table_CV: FloatArray, pictures: Sequence[Numbers]) -> FloatArray:
    """Return the values of pictures of one shape, as (B, C, H, W)."""
    found_BCHW = np.empty((len(pictures), *pictures[0].shape), dtype=np.float32)
    for found_CHW, picture_CHW in zip(found_BCHW, pictures, strict=True):
        for channel in zip(table_CV, picture_CHW, found_CHW, strict=True):
            values_V, numbers_HW, found_HW = channel
            np.take(values_V, numbers_HW, out=found_HW, mode="clip")
    return found_BCHW


def _ways(processor: Any) -> Sequence[Way]:
    """Return the ways to whole numbers that are worth trying, the shortest first."""
    size = dict(getattr(processor, "size", None) or {})
    fixed = (size.get("width"), size.get("height"))
    is_one_change = processor.do_resize and not getattr(processor, "do_center_crop", False)
    own = partial(_whole, processor, **UNSCALED)
    if is_one_change and None not in fixed:
        return partial(_resized, fixed, processor.resample), own
    return (own,)


def _resized(size: Any, resample: Any, picture: Image.Image) -> Numbers:
    return np.asarray(picture.resize(size, resample)).transpose(2, 0, 1)


def _whole(processor: Any, picture: Image.Image, /, **options: bool) -> Any:
    return np.asarray(processor(images=picture, **options)["pixel_values"][0])


def _agrees(pixels: Pixels, size: tuple[int, int]) -> bool:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, VALUES, (*size, 3), dtype=np.uint8))
    expected_CHW, kept = _whole(pixels.processor, picture), pixels.of(picture)
    if expected_CHW.dtype != np.float32 or kept.dtype != np.uint8:
        return False
    return np.array_equal(pixels.together([kept]).numpy()[0], expected_CHW)
