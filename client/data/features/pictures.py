"""Pictures and films as small grey tensors, free of brightness and contrast."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from client.data.arrays import FloatArray
from client.data.features.base import FrontEnd, Window
from client.data.manifest import Source
from client.data.readers.files import check_size
from client.data.readers.images import frame_files, image_files, read_grey, standardised
from client.data.readers.media import FOLDER_HZ, MAX_VIDEO_BYTES, decode_frames
from common.errors import DataError
from common.inputs import IMAGE_SIDE, Options


def gray32(path: Path) -> FloatArray:
    """Return the centre of a picture as (1, 32, 32)."""
    return standardised(read_grey(path, IMAGE_SIDE))[None].astype(np.float32)


def video_gray(path: Path, window: Window, frames: int, side: int) -> FloatArray:
    """Return evenly spaced frames of a film as (frames, side²).

    Args:
        path: a video file, or a folder of pictures taken 25 times a second.
        window: start and end in seconds.
        frames: how many are taken, whatever the length of the clip.
        side: of the centre square.

    Raises:
        DataError: when the window holds no frame.
    """
    if path.is_dir():
        grey_THW = _folder(path, window, frames, side)
    else:
        grey_THW = decode_frames(path, window, frames, side)
    return standardised(grey_THW).reshape(frames, side * side).astype(np.float32)


def spread(count: int, frames: int) -> npt.NDArray[np.int64]:
    """Return the indices of `frames` evenly spaced frames among `count`."""
    return np.minimum(((np.arange(frames) + 0.5) * count / frames).astype(np.int64), count - 1)


def _folder(folder: Path, window: Window, frames: int, side: int) -> npt.NDArray[np.float64]:
    start_s, end_s = window
    last = None if end_s is None else round(end_s * FOLDER_HZ)
    files = frame_files(folder)[round(start_s * FOLDER_HZ) : last]
    if not files:
        raise DataError(f"{folder.name}: no frame inside the window")
    return np.stack([read_grey(files[i], side) for i in spread(len(files), frames)])


def _video_files(source: Source) -> Sequence[Path]:
    path = Path(str(source))
    if path.is_dir():
        return frame_files(path)
    check_size(path, MAX_VIDEO_BYTES)
    return (path,)


def _extract_image(source: Source, windows: Sequence[Window], options: Options) -> list[FloatArray]:
    return [gray32(Path(str(source)))] * len(windows)


def _extract_video(source: Source, windows: Sequence[Window], options: Options) -> list[FloatArray]:
    path = Path(str(source))
    return [video_gray(path, window, options["frames"], options["side"]) for window in windows]


GRAY32 = FrontEnd(version=1, files=image_files, extract=_extract_image)
VIDEO_GRAY = FrontEnd(version=1, files=_video_files, extract=_extract_video)
