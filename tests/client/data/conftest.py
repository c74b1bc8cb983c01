import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.config import Modality, Study


@pytest.fixture
def table(tmp_path) -> Callable[..., Path]:
    """Write a manifest from its lines and return its path."""

    def write(*lines: str, name: str = "manifest.csv") -> Path:
        path = tmp_path / "site" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def study() -> Callable[..., Study]:
    """Build a two-class study over modalities, given with their options."""

    def build(normalise: str = "none", **modalities: dict) -> Study:
        described = {name: Modality(options=options) for name, options in modalities.items()}
        return Study(classes=("joy", "fear"), modalities=described, normalise=normalise)

    return build


def tone(seconds: float, hz: float = 150.0, rate_hz: int = 16_000, seed: int = 0) -> np.ndarray:
    """A buzz with harmonics that pulses five or six times a second, and a little noise."""
    time = np.arange(int(seconds * rate_hz)) / rate_hz
    buzz = sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 12))
    pulse = 0.55 + 0.45 * np.sin(2 * np.pi * 5.6 * time)
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return 0.1 * buzz * pulse + 0.001 * noise


def write_wav(path: Path, signal: np.ndarray, rate_hz: int = 16_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((np.clip(signal, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def write_picture(path: Path, seed: int = 0, size: tuple[int, int] = (48, 40)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_film(path: Path, seconds: float = 1.0, hz: int = 10, sound: bool = True) -> Path:
    """An MP4 that grows brighter, with a tone as its sound."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=hz)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        voice = container.add_stream("aac", rate=16_000, layout="mono") if sound else None
        for k in range(int(seconds * hz)):
            grey = np.full((48, 64, 3), 20 * (k + 1) % 255, dtype=np.uint8)
            grey[:, : 2 + 4 * k % 60] = 0
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
        if voice is not None:
            samples = tone(seconds).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate = 16_000
            container.mux(voice.encode(frame))
            container.mux(voice.encode())
    return path


@pytest.fixture
def make():
    """The writers of small recordings."""

    class Makers:
        tone = staticmethod(tone)
        wav = staticmethod(write_wav)
        picture = staticmethod(write_picture)
        film = staticmethod(write_film)

    return Makers
