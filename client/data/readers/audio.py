"""Sound as mono float64 at 16 kHz: WAV, FLAC, OGG and MP3, and the sound of video files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import gcd
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile as sf
from scipy.signal import resample_poly

from client.data.readers.files import check_size
from client.data.readers.media import VIDEO_SUFFIXES, open_film_sound
from common.errors import DataError

RATE_HZ = 16_000
MAX_AUDIO_BYTES = 4 << 30
MAX_SAMPLES = 1 << 27
BLOCK_SAMPLES = 1 << 20
UNKNOWN_LENGTH = 0xFFFFFFFF
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 2_000, 400_000
Signal = npt.NDArray[np.float64]


def audio_files(source: object) -> Sequence[Path]:
    """Return the file that an audio cell names.

    Raises:
        DataError: when it is no regular file of a size that is read.
    """
    path = Path(str(source))
    check_size(path, MAX_AUDIO_BYTES)
    return (path,)


def read_audio(path: Path, start_s: float = 0.0, end_s: float | None = None) -> Signal:
    """Return a window of a recording, mono at 16 kHz.

    Raises:
        DataError: when it cannot be decoded, is truncated, too long to be read at once, or the
            window holds no sound.
    """
    kept, count = [], 0
    with open_sound(path, start_s, end_s) as (rate_hz, blocks):
        for block in blocks:
            kept.append(block)
            count += len(block)
            if count > MAX_SAMPLES:
                raise DataError(
                    f"{path.name}: the clip lasts more than {MAX_SAMPLES / rate_hz:,.0f} s, more "
                    "than is read at once; cut it with start_s and end_s"
                )
    if not count:
        raise DataError(f"{path.name}: no sound between {start_s:g} s and {_end(end_s)}")
    return resampled(np.nan_to_num(np.concatenate(kept)), rate_hz)


@contextmanager
def open_sound(
    path: Path, start_s: float = 0.0, end_s: float | None = None
) -> Iterator[tuple[int, Iterator[Signal]]]:
    """Open a window of a recording: its rate as recorded, and its blocks, mono, as they come.

    Raises:
        DataError: when it cannot be decoded or is truncated; also while blocks are read.
    """
    if path.suffix.lower() in VIDEO_SUFFIXES:
        with open_film_sound(path, start_s, end_s) as (rate_hz, blocks):
            _check_rate(path, rate_hz)
            yield rate_hz, blocks
        return
    _check_wav(path)
    try:
        with sf.SoundFile(path) as file:
            rate_hz = int(file.samplerate)
            _check_rate(path, rate_hz)
            first = min(round(start_s * rate_hz), file.frames)
            last = file.frames if end_s is None else min(round(end_s * rate_hz), file.frames)
            file.seek(first)
            yield rate_hz, _blocks(path, file, last - first)
    except (sf.SoundFileError, OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{path.name}: not a readable sound file: {str(error)[-120:]}") from None


def _blocks(path: Path, file: sf.SoundFile, count: int) -> Iterator[Signal]:
    left = count
    while left > 0:
        block = file.read(min(left, BLOCK_SAMPLES), dtype="float32", always_2d=True)
        if not len(block):
            raise DataError(
                f"{path.name}: truncated: {count} samples announced, {count - left} found"
            )
        yield block.mean(axis=1, dtype=np.float64)
        left -= len(block)


def _check_wav(path: Path) -> None:
    """Refuse a WAV whose data chunk announces more than the file holds; decoders are silent."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return
        while len(chunk := file.read(8)) == 8:
            name, length = chunk[:4], int.from_bytes(chunk[4:], "little")
            if name == b"data":
                missing = file.tell() + length - size_bytes
                if missing > 0 and length != UNKNOWN_LENGTH:
                    raise DataError(f"{path.name}: truncated: {missing} bytes are missing")
                return
            file.seek(length + length % 2, 1)


def _check_rate(path: Path, rate_hz: int) -> None:
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        raise DataError(
            f"{path.name}: expected a rate from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz, "
            f"found {rate_hz}"
        )


def resampled(signal: Signal, rate_hz: int) -> Signal:
    """Return a signal at 16 kHz."""
    if rate_hz == RATE_HZ:
        return signal
    common = gcd(rate_hz, RATE_HZ)
    return np.asarray(resample_poly(signal, RATE_HZ // common, rate_hz // common))


def _end(end_s: float | None) -> str:
    return "the end" if end_s is None else f"{end_s:g} s"
