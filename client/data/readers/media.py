"""Video files through PyAV: frames and sound, from a closed list of formats.

Playlist formats are not on the list: they could make the decoder open other files.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from client.data.readers.files import check_size
from client.data.readers.images import centre_square, frame_files, read_colour, reduced
from common.errors import DataError

MAX_VIDEO_BYTES = 16 << 30
MAX_PIXELS = 8192 * 8192
MOST_KEPT = 1 << 12
FOLDER_HZ = 25.0
VIDEO_SUFFIXES = frozenset(
    {
        ".mp4",
        ".m4v",
        ".m4a",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".mpg",
        ".mpeg",
        ".flv",
        ".wmv",
        ".ts",
        ".3gp",
    }
)
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,flv,asf"
OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file", "enable_drefs": "0"}


@contextmanager
def open_media(path: Path) -> Iterator[Any]:
    """Open a video file; every decoding error inside becomes a DataError.

    Raises:
        DataError: when the file is no video of a known format, or is damaged.
    """
    check_size(path, MAX_VIDEO_BYTES)
    try:
        with av.open(str(path), mode="r", options=OPTIONS) as container:
            yield container
    except (av.FFmpegError, ValueError, IndexError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path.name}: not a readable video file: {str(reason)[:120]}") from None


@contextmanager
def open_film_sound(
    path: Path, start_s: float, end_s: float | None
) -> Iterator[tuple[int, Iterator[npt.NDArray[np.float64]]]]:
    """Open the sound of a video file: its rate, and the blocks inside a window, mono.

    Raises:
        DataError: when there is no sound, or the file is damaged; also while blocks are read.
    """
    with open_media(path) as container:
        if not container.streams.audio:
            raise DataError(f"{path.name}: the file holds no sound")
        stream = container.streams.audio[0]
        rate_hz = int(stream.codec_context.sample_rate)
        last = None if end_s is None else round(end_s * rate_hz)
        blocks = _sound_blocks(container, stream, rate_hz)
        yield rate_hz, _inside(blocks, round(start_s * rate_hz), last)


def _inside(
    blocks: Iterator[npt.NDArray[np.float64]], first: int, last: int | None
) -> Iterator[npt.NDArray[np.float64]]:
    position = 0
    for block in blocks:
        low, high = max(first - position, 0), len(block)
        high = high if last is None else min(high, last - position)
        if high > low:
            yield block[low:high]
        position += len(block)
        if last is not None and position >= last:
            return


def length_of(path: Path) -> float:
    """Return how long a video file says it lasts, in seconds; NaN where it does not say.

    Raises:
        DataError: when the file is no video of a known format.
    """
    with open_media(path) as container:
        known = container.duration is not None
        return float(container.duration / av.time_base) if known else float("nan")


def _sound_blocks(container: Any, stream: Any, rate_hz: int) -> Iterator[npt.NDArray[np.float64]]:
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate_hz)
    for frame in container.decode(stream):
        for mono in resampler.resample(frame):
            yield mono.to_ndarray()[0].astype(np.float64)
    for mono in resampler.resample(None):
        yield mono.to_ndarray()[0].astype(np.float64)


def decode_frames(
    path: Path, window: tuple[float, float | None], frames: int, side: int
) -> npt.NDArray[np.float64]:
    """Return evenly spaced frames of a window as grey values (frames, side, side), 0 to 1.

    The film is read in a stream; at most 4096 small frames are held, every second one of
    them is dropped when there are more.

    Raises:
        DataError: when there is no picture in the window, or the file is damaged.
    """
    with open_media(path) as container:
        if not container.streams.video:
            raise DataError(f"{path.name}: the file holds no pictures")
        kept: list[npt.NDArray[np.float64]] = []
        every = 1
        for seen, frame in enumerate(_window_frames(path, container, window)):
            if seen % every == 0:
                kept.append(centre_square(frame.to_image().convert("L"), side))
            if len(kept) >= MOST_KEPT:
                kept, every = kept[::2], 2 * every
    if not kept:
        raise DataError(f"{path.name}: no picture inside the window")
    chosen = ((np.arange(frames) + 0.5) * len(kept) / frames).astype(np.int64)
    return np.stack([kept[min(i, len(kept) - 1)] for i in chosen])


def film_pictures(
    path: Path, window: tuple[float, float | None], rate_hz: float
) -> Iterator[Image.Image]:
    """Yield a window's pictures in colour at an even rate, from its first picture on.

    Args:
        path: a video file, or a folder of pictures taken 25 times a second.
        window: start and end in seconds.
        rate_hz: of what is yielded; at most the film's own.

    Guarantees: the film is read in a stream; one picture is in memory. What a gap in the film
    swallowed is not made up for after it.

    Raises:
        DataError: when there is no picture in the window, or the file is damaged.
    """
    due_s = window[0]
    timed = _folder_pictures(path, window) if path.is_dir() else _timed_frames(path, window)
    none = True
    for time_s, picture in timed:
        if none or time_s >= due_s - 1e-6:
            gone = max(0, math.floor((time_s - due_s) * rate_hz + 1e-6))
            due_s += (1 + gone) / rate_hz
            none = False
            yield reduced(picture())
    if none:
        raise DataError(f"{path.name}: no picture inside the window")


Timed = tuple[float, Callable[[], Image.Image]]


def _timed_frames(path: Path, window: tuple[float, float | None]) -> Iterator[Timed]:
    with open_media(path) as container:
        if not container.streams.video:
            raise DataError(f"{path.name}: the file holds no pictures")
        for frame in _window_frames(path, container, window):
            yield float(frame.time or 0.0), frame.to_image


def _folder_pictures(path: Path, window: tuple[float, float | None]) -> Iterator[Timed]:
    start_s, end_s = window
    for number, file in enumerate(frame_files(path)):
        time_s = number / FOLDER_HZ
        if time_s >= start_s and (end_s is None or time_s < end_s):
            yield time_s, partial(read_colour, file)


def _window_frames(path: Path, container: Any, window: tuple[float, float | None]) -> Iterator[Any]:
    start_s, end_s = window
    stream = container.streams.video[0]
    stream.thread_type = "NONE"
    if stream.width * stream.height > MAX_PIXELS:
        raise DataError(f"{path.name}: frames of {stream.width} x {stream.height}, too large")
    if start_s > 2:
        container.seek(int((start_s - 1) * av.time_base))
    for frame in container.decode(stream):
        time_s = float(frame.time or 0.0)
        if end_s is not None and time_s >= end_s:
            return
        if time_s >= start_s:
            yield frame
