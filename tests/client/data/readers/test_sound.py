import tracemalloc

import numpy as np
import pytest
import soundfile as sf

from client.data.readers import audio
from client.data.readers.audio import read_audio
from client.data.readers.sound import measure_sound, sound_windows
from common.errors import DataError


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
@pytest.mark.parametrize("window_s", [0.5, 0.7])
def test_windows_equal_what_is_read_at_once(tmp_path, make, monkeypatch, rate_hz, window_s):
    monkeypatch.setattr(audio, "BLOCK_SAMPLES", 5000)
    path = make.wav(tmp_path / "a.wav", make.tone(2.0, rate_hz=rate_hz), rate_hz)
    found = list(sound_windows(path, window_s, start_s=0.2))
    assert [round(start_s, 6) for start_s, _ in found] == [
        round(0.2 + k * window_s, 6) for k in range(len(found))
    ]
    for start_s, values in found:
        np.testing.assert_allclose(
            values, read_audio(path, start_s, start_s + window_s), atol=1e-12
        )
    assert sum(len(values) for _, values in found) == pytest.approx(1.8 * 16_000, abs=len(found))


def test_windows_of_a_film(tmp_path, make):
    path = make.film(tmp_path / "a.mp4", seconds=2)
    starts = [start_s for start_s, _ in sound_windows(path, 0.5)]
    assert starts[:4] == [0.0, 0.5, 1.0, 1.5]


def test_an_hour_of_sound_is_passed_over_in_little_memory(tmp_path):
    path = tmp_path / "hour.flac"
    with sf.SoundFile(path, "w", 8000, 1) as file:
        for _ in range(60):
            file.write(np.full(60 * 8000, 0.25))
    tracemalloc.start()
    try:
        sound = measure_sound(path)
        assert sum(1 for _ in sound_windows(path, 10.0)) == 360
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert (sound.length_s, sound.rate_hz, sound.unknown) == (3600, 8000, 0)
    assert sound.peak == pytest.approx(0.25, abs=1e-4)


def test_what_is_truncated_is_refused_while_it_streams(tmp_path, make):
    path = tmp_path / "a.flac"
    sf.write(path, make.tone(30), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"a\.flac"):
        measure_sound(path)
