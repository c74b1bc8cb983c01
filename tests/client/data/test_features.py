import numpy as np
import pytest
import soundfile as sf

from client.data.features import FRONT_ENDS, front_end
from client.data.features.descriptors import describe
from client.data.features.heart import beats, heart
from client.data.features.logmel import logmel
from client.data.features.physio import physio_functionals
from client.data.features.pictures import gray32, spread, video_gray
from client.data.features.pitch import track_pitch
from client.data.features.speech import speech_functionals
from client.data.features.text import text_hash
from client.data.features.vector import scaled_vector
from client.data.features.wearable import movement
from client.data.readers.signals import Signal
from common.errors import ConfigError, DataError
from common.inputs import FRONT_ENDS as SPECS

WHOLE = (0.0, None)


def pulse_wave(seconds, bpm, rate_hz=64):
    phase = np.cumsum(np.full(int(seconds * rate_hz), bpm / 60 / rate_hz)) * 2 * np.pi
    return 30 * np.sin(phase) + 12 * np.sin(2 * phase + 1)


def wearable(seconds=120, bpm=80, seed=0):
    rng = np.random.default_rng(seed)
    acc = np.column_stack([np.zeros(seconds * 32), np.zeros(seconds * 32), np.ones(seconds * 32)])
    return {
        "bvp": Signal(pulse_wave(seconds, bpm), 64.0),
        "eda": Signal(2 + 0.1 * rng.standard_normal(seconds * 4).cumsum() / 10, 4.0),
        "temp": Signal(33 + 0.01 * rng.standard_normal(seconds * 4), 4.0),
        "acc": Signal(acc + 0.02 * rng.standard_normal(acc.shape), 32.0),
        "hr": Signal(bpm + rng.standard_normal(seconds), 1.0),
        "resp": Signal(14 + 0.2 * rng.standard_normal(seconds), 1.0),
    }


@pytest.fixture(params=sorted(FRONT_ENDS))
def case(request, tmp_path, make):
    """A front end with a source it reads."""
    name = request.param
    sources = {
        "speech_functionals": lambda: make.wav(tmp_path / "x.wav", make.tone(1.5)),
        "logmel": lambda: make.wav(tmp_path / "x.wav", make.tone(1.5)),
        "gray32": lambda: make.picture(tmp_path / "x.png"),
        "video_gray": lambda: make.film(tmp_path / "x.mp4"),
        "text_hash": lambda: "What a day!",
        "physio_functionals": lambda: write_signals(tmp_path / "x.npz", wearable()),
        "vector": lambda: "[1, 2, null]",
    }
    options = {**SPECS[name].options, **({"dim": 3} if name == "vector" else {})}
    return name, sources[name](), options


def write_signals(path, signals):
    np.savez(path, **{f"{name}@{s.rate_hz:g}": s.values for name, s in signals.items()})
    return path


class TestContract:
    """Every front end passes all of these."""

    def test_its_shape_is_the_one_known_without_data(self, case):
        name, source, options = case
        (found,) = front_end(name).extract(source, [WHOLE], options)
        assert found.shape == SPECS[name].shape(options)
        assert found.dtype == np.float32
        assert np.isfinite(found).all()

    def test_equal_sources_give_equal_features(self, case):
        name, source, options = case
        first, again = (front_end(name).extract(source, [WHOLE], options)[0] for _ in range(2))
        assert (first == again).all()
        twice = front_end(name).extract(source, [WHOLE, WHOLE], options)
        assert all((values == first).all() for values in twice)

    def test_it_names_the_files_it_reads(self, case):
        name, source, _ = case
        files = front_end(name).files(source)
        assert list(files) == ([] if isinstance(source, str) else [source])

    def test_features_are_about_unit_size(self, case):
        name, source, options = case
        if name != "text_hash":
            (found,) = front_end(name).extract(source, [WHOLE], options)
            assert np.abs(found).max() <= 5.0
            assert np.abs(found).mean() < 3.0


def test_unknown_front_end():
    with pytest.raises(ConfigError, match="known: gray32"):
        front_end("mfcc")


class TestSpeech:
    def test_a_longer_clip_of_the_same_sound_has_the_same_values(self, make):
        short, long = (speech_functionals(make.tone(seconds)) for seconds in (2.0, 6.0))
        assert np.abs(short - long).mean() < 0.1
        assert np.quantile(np.abs(short - long), 0.98) < 0.8

    def test_gain_changes_the_three_levels_only(self, make):
        signal = make.tone(2.0)
        changed = np.abs(speech_functionals(signal) - speech_functionals(0.3 * signal)) > 0.05
        assert 1 <= changed.sum() <= 3

    @pytest.mark.parametrize("hz", [90.0, 150.0, 220.0, 350.0])
    def test_pitch_is_found(self, make, hz):
        semitones, voicing = track_pitch(make.tone(1.0, hz=hz))
        assert np.median(semitones) == pytest.approx(12 * np.log2(hz / 55), abs=0.2)
        assert np.median(voicing) > 0.9

    def test_noise_has_no_voice(self):
        noise = 0.1 * np.random.default_rng(0).standard_normal(16_000)
        assert np.median(track_pitch(noise)[1]) < 0.5

    @pytest.mark.parametrize("signal", [np.zeros(1), np.zeros(16_000), np.ones(300), np.ones(3)])
    def test_silence_and_snippets_are_finite(self, signal):
        assert np.isfinite(speech_functionals(signal.astype(float))).all()

    def test_long_clips_are_computed_in_pieces_without_seams(self, make, monkeypatch):
        signal = make.tone(1.5)
        whole = describe(signal)
        monkeypatch.setattr("client.data.features.descriptors.CHUNK_FRAMES", 37)
        monkeypatch.setattr("client.data.features.pitch.CHUNK_FRAMES", 41)
        pieces = describe(signal)
        assert np.allclose(whole.mel_TB, pieces.mel_TB)
        assert np.allclose(whole.shape_TS, pieces.shape_TS)
        assert np.allclose(whole.pitch_T, pieces.pitch_T)


class TestLogmel:
    def test_a_longer_clip_of_the_same_sound_looks_the_same(self, make):
        short, long = (logmel(make.tone(seconds), 8, 40) for seconds in (2.0, 8.0))
        assert np.abs(short - long).mean() < 0.15

    def test_gain_plays_no_part(self, make):
        signal = make.tone(1.0)
        assert np.allclose(logmel(signal, 16, 40), logmel(0.2 * signal, 16, 40), atol=0.02)

    def test_clips_shorter_than_the_frames_asked_for(self, make):
        assert np.isfinite(logmel(make.tone(0.05), 64, 40)).all()


class TestText:
    @pytest.mark.parametrize(
        "text", ["Hello!", "Привет, мир", "你好世界", "مرحبا بالعالم", "😀 ok"]
    )
    def test_any_script_has_unit_norm(self, text):
        assert np.linalg.norm(text_hash(text, 512)) == pytest.approx(1.0, abs=1e-6)

    def test_case_and_forms_of_a_letter_play_no_part(self):
        assert (text_hash("CAFÉ’s", 512) == text_hash("cafe\u0301's", 512)).all()

    def test_likeness(self):
        a, b, c = (text_hash(t, 4096) for t in ("I am so happy", "so happy today", "go away now"))
        assert a @ b > a @ c + 0.1

    def test_no_text_is_zero(self):
        assert not text_hash("   ", 64).any()

    def test_known_answer(self):
        found = text_hash("ab", 8)
        assert found.tolist() == pytest.approx(KNOWN_AB, abs=1e-4)

    def test_from_a_file(self, tmp_path):
        (tmp_path / "x.txt").write_text("ab")
        (found,) = front_end("text_hash").extract(tmp_path / "x.txt", [WHOLE], {"dim": 8})
        assert (found == text_hash("ab", 8)).all()


KNOWN_AB = [0.3395, 0.2005, -0.2005, 0.4011, 0.0, 0.8021, 0.0, 0.0]


OPTIONS = {"dim": 3, "centre": [1.0, 2.0, 3.0], "scale": 2.0}


class TestVector:
    def test_scaled_by_public_constants_and_missing_at_zero(self):
        assert scaled_vector("[3, null, 4]", OPTIONS).tolist() == [1.0, 0.0, 0.5]
        assert scaled_vector("[99, -99, 3]", OPTIONS).tolist() == [5.0, -5.0, 0.0]

    def test_frames_are_averaged(self, tmp_path):
        np.save(tmp_path / "x.npy", [[1, 2, np.nan], [5, 2, 7]])
        assert scaled_vector(tmp_path / "x.npy", OPTIONS).tolist() == [1.0, 0.0, 2.0]

    def test_another_size_is_refused(self):
        with pytest.raises(DataError, match="expected 3 features"):
            scaled_vector("[1, 2]", OPTIONS)

    @pytest.mark.parametrize("change", [{"scale": 0}, {"scale": [1, 2]}, {"centre": float("nan")}])
    def test_constants_that_make_no_sense(self, change):
        with pytest.raises(ConfigError):
            scaled_vector("[1, 2, 3]", {**OPTIONS, **change})


class TestPictures:
    def test_brightness_and_contrast_play_no_part(self, tmp_path):
        from PIL import Image

        pixels = np.random.default_rng(0).integers(60, 120, (40, 40)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "a.png")
        Image.fromarray(pixels * 2).save(tmp_path / "b.png")
        assert np.allclose(gray32(tmp_path / "a.png"), gray32(tmp_path / "b.png"), atol=0.1)

    def test_frames_are_spread_over_the_clip_whatever_its_length(self):
        assert spread(100, 4).tolist() == [12, 37, 62, 87]
        assert spread(1, 4).tolist() == [0, 0, 0, 0]

    def test_a_folder_is_a_film(self, tmp_path, make):
        for k in range(50):
            make.picture(tmp_path / "film" / f"{k:03d}.png", seed=k)
        whole = video_gray(tmp_path / "film", WHOLE, 2, 8)
        second = video_gray(tmp_path / "film", (1.0, 2.0), 2, 8)
        assert whole.shape == (2, 64)
        assert not np.allclose(whole, second)
        with pytest.raises(DataError, match="no frame"):
            video_gray(tmp_path / "film", (9.0, None), 2, 8)


class TestPhysio:
    @pytest.mark.parametrize("bpm", [55, 80, 120])
    def test_heart_rate(self, bpm):
        assert heart(pulse_wave(60, bpm))[[0, 3, 4]] == pytest.approx(bpm, rel=0.03)

    def test_variability_is_seen(self):
        steady, uneven = (np.r_[pulse_wave(30, 70), pulse_wave(30, b)] for b in (70, 80))
        assert heart(uneven)[5] > heart(steady)[5] + 0.3

    def test_beats_are_evenly_spaced_in_a_steady_pulse(self):
        _, interval_s, plausible = beats(pulse_wave(60, 75))
        assert plausible.mean() > 0.95
        assert np.median(interval_s) == pytest.approx(0.8, abs=0.02)

    def test_acceleration_in_any_unit(self):
        acc = wearable()["acc"].values
        assert np.allclose(movement(acc), movement(64 * acc))

    def test_absent_signals_leave_zeros_and_touch_nothing_else(self):
        signals = wearable()
        whole = physio_functionals(signals, 0.0, 60.0)
        without = physio_functionals({k: v for k, v in signals.items() if k != "bvp"}, 0.0, 60.0)
        assert not without[16:38].any()
        assert (np.delete(whole, range(16, 38)) == np.delete(without, range(16, 38))).all()

    def test_gaps_are_bridged_and_mostly_unknown_signals_are_absent(self):
        signals = wearable()
        level = signals["eda"].values.copy()
        level[40:60] = np.nan
        bridged = physio_functionals({"eda": Signal(level, 4.0)}, 0.0, 60.0)
        plain = physio_functionals({"eda": signals["eda"]}, 0.0, 60.0)
        assert np.isfinite(bridged).all()
        assert bridged[0] == pytest.approx(plain[0], abs=0.1)
        level[:200] = np.nan
        assert not physio_functionals({"eda": Signal(level, 4.0)}, 0.0, 60.0).any()

    def test_only_the_window_is_seen(self):
        signals = wearable()
        first = physio_functionals(signals, 0.0, 60.0)
        for signal in signals.values():
            signal.values[round(60 * signal.rate_hz) :] = 1e6
        assert (physio_functionals(signals, 0.0, 60.0) == first).all()

    def test_when_a_window_lies_plays_no_part(self):
        signals = {"bvp": Signal(np.tile(pulse_wave(60, 80), 5), 64.0)}
        first, last = (physio_functionals(signals, s, s + 60.0) for s in (0.0, 240.0))
        assert np.allclose(first, last, atol=1e-5)

    def test_another_rate_gives_about_the_same(self):
        fine = Signal(pulse_wave(60, 80, rate_hz=700), 700.0)
        coarse = Signal(pulse_wave(60, 80), 64.0)
        a, b = (physio_functionals({"bvp": s}, 0.0, None) for s in (fine, coarse))
        assert np.abs(a - b)[16:38].max() < 0.6

    def test_breathing_is_counted_in_a_wave(self):
        time = np.arange(60 * 25) / 25
        wave = {"resp": Signal(np.sin(2 * np.pi * 0.25 * time), 25.0)}
        rate = {"resp": Signal(np.full(60, 15.0), 1.0)}
        a, b = (physio_functionals(signals, 0.0, None)[61] for signals in (wave, rate))
        assert a == pytest.approx(b, abs=0.15)

    @pytest.mark.parametrize("value", [0.0, 1e9, -1e9])
    def test_stuck_signals_are_finite(self, value):
        stuck = {k: Signal(np.full_like(s.values, value), s.rate_hz) for k, s in wearable().items()}
        assert np.isfinite(physio_functionals(stuck, 0.0, 60.0)).all()

    def test_a_window_after_the_end_is_refused(self):
        with pytest.raises(DataError, match="no signal between 500 s and 560 s"):
            physio_functionals(wearable(), 500.0, 560.0)


def test_a_clip_of_a_long_recording_is_read_alone(tmp_path, make):
    signal = np.concatenate([make.tone(1.0, hz=100), make.tone(1.0, hz=300, seed=1)])
    sf.write(tmp_path / "x.flac", signal, 16_000)
    alone = tmp_path / "alone.flac"
    sf.write(alone, signal[16_000:], 16_000)
    reader = front_end("speech_functionals")
    (cut,) = reader.extract(tmp_path / "x.flac", [(1.0, 2.0)], {})
    (whole,) = reader.extract(alone, [WHOLE], {})
    assert np.allclose(cut, whole, atol=1e-3)
