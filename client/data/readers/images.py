"""Pictures as grey values: PNG, JPEG and the like, and folders of them as films."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from client.data.readers.files import check_size, inside
from common.errors import DataError

MAX_IMAGE_BYTES = 1 << 27
MAX_PIXELS = 100_000_000
MAX_FRAMES = 200_000
LEAST_SIDE = 512
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif"})
Grey = npt.NDArray[np.float64]


def image_files(source: object) -> Sequence[Path]:
    """Return the file that an image cell names.

    Raises:
        DataError: when it is no regular file of a size that is read.
    """
    path = Path(str(source))
    check_size(path, MAX_IMAGE_BYTES)
    return (path,)


def frame_files(folder: Path) -> Sequence[Path]:
    """Return the pictures of a folder in the order of their names.

    Raises:
        DataError: when there are none, too many, or one is a link that leaves the folder.
    """
    names = sorted(entry.name for entry in folder.iterdir() if entry.suffix.lower() in SUFFIXES)
    if not 0 < len(names) <= MAX_FRAMES:
        raise DataError(f"{folder.name}: expected 1 to {MAX_FRAMES} pictures, found {len(names)}")
    files = [inside(folder, name) for name in names]
    for file in files:
        check_size(file, MAX_IMAGE_BYTES)
    return files


def read_grey(path: Path, side: int) -> Grey:
    """Return the centre square of a picture as (side, side) grey values from 0 to 1.

    Raises:
        DataError: when it is no picture, is truncated, or has more than 100 million pixels.
    """
    with _opened(path) as image:
        image.draft("L", (4 * side, 4 * side))
        return centre_square(ImageOps.exif_transpose(image).convert("L"), side)


def read_colour(path: Path) -> Image.Image:
    """Return a picture in colour, its shorter side brought below 1024 pixels.

    Raises:
        DataError: when it is no picture, is truncated, or has more than 100 million pixels.
    """
    with _opened(path) as image:
        image.draft("RGB", (2 * LEAST_SIDE, 2 * LEAST_SIDE))
        ImageOps.exif_transpose(image, in_place=True)
        return reduced(image if image.mode == "RGB" else image.convert("RGB"))


def reduced(image: Image.Image) -> Image.Image:
    """Return a picture as it is, or by a whole factor smaller, no side below 512 pixels."""
    factor = min(image.size) // LEAST_SIDE
    return image.reduce(factor) if factor > 1 else image


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture; every decoding error inside becomes a DataError."""
    check_size(path, MAX_IMAGE_BYTES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(f"{path.name}: {image.width} x {image.height} pixels, too many")
                yield image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Warning) as error:
        reason = str(error).replace(str(path), path.name)[:120]
        raise DataError(f"{path.name}: not a readable picture: {reason}") from None


def centre_square(image: Image.Image, side: int) -> Grey:
    """Return the largest centred square of a picture, reduced to (side, side), 0 to 1."""
    square = ImageOps.fit(image, (side, side), method=Image.Resampling.BOX)
    return np.asarray(square, dtype=np.float64) / 255


def standardised(grey: Grey) -> Grey:
    """Return grey values free of brightness and contrast: zero mean, unit size, within ± 4."""
    spread = max(float(grey.std()), 0.05)
    return np.asarray(np.clip((grey - grey.mean()) / spread, -4.0, 4.0))
