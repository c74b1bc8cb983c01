"""Each renderer shows what its cue says, beyond the person's own way."""

import numpy as np
import pytest
from scipy import signal

from simulations.corpus import face, voice, wearable, words
from simulations.corpus.latent import CLASSES


def rng(seed):
    return np.random.default_rng(seed)


def sounds(female=True, pitch=0.0, effort=0.0, tempo=0.0, number=12):
    return [
        voice.speak(rng(s), voice.draw_voice(rng(s), female), 1.5, pitch, effort, tempo) / 32_767
        for s in range(number)
    ]


def treble(sound_N):
    frequency_F, power_F = signal.welch(sound_N, voice.RATE_HZ, nperseg=512)
    return power_F[frequency_F > 1000].sum() / power_F.sum()


def fundamental_hz(sound_N):
    spectrum_F = np.abs(np.fft.rfft(sound_N, 1 << 16)) ** 2
    correlation_L = np.fft.irfft(spectrum_F)
    low, high = voice.RATE_HZ // 400, voice.RATE_HZ // 70
    return voice.RATE_HZ / (low + correlation_L[low:high].argmax())


def bursts(sound_N):
    envelope_N = np.sqrt(signal.lfilter([0.005], [1, -0.995], sound_N**2))
    return len(signal.find_peaks(envelope_N, prominence=0.2 * envelope_N.max())[0])


def mean_of(measure, **cue):
    return np.mean([measure(sound_N) for sound_N in sounds(**cue)])


def test_a_voice_raises_pitch_effort_and_tempo():
    assert mean_of(fundamental_hz, pitch=1.5) > 1.15 * mean_of(fundamental_hz, pitch=-0.5)
    assert mean_of(np.std, effort=1.0) > 1.4 * mean_of(np.std)
    assert mean_of(treble, effort=1.5) > mean_of(treble, effort=-1.5)
    assert mean_of(bursts, tempo=1.2) > 1.2 * mean_of(bursts, tempo=-1.2)


def test_voices_of_men_are_lower():
    assert mean_of(fundamental_hz, female=False) < 0.75 * mean_of(fundamental_hz, female=True)


@pytest.mark.parametrize("extreme", [-6.0, 6.0])
def test_sound_stays_within_sixteen_bits_for_any_cue(extreme):
    for sound_N in sounds(pitch=extreme, effort=extreme, tempo=extreme, number=4):
        assert np.isfinite(sound_N).all()
        assert 0 < np.abs(sound_N).max() <= 1


def last_frame(seed, **cue):
    looks = face.draw_looks(rng(seed))
    axes = {"mouth": 0.0, "brow": 0.0, "eyes": 0.0} | cue
    return np.asarray(face.film(rng(seed), looks, **axes)[-1], dtype=float)


@pytest.mark.parametrize(
    ("axis", "rows"), [("mouth", (25, 38)), ("brow", (3, 17)), ("eyes", (12, 24))]
)
def test_a_face_moves_where_its_cue_says(axis, rows):
    change_HW = np.mean(
        [np.abs(last_frame(s, **{axis: 1.5}) - last_frame(s, **{axis: -1.5})) for s in range(6)],
        axis=0,
    )
    inside = change_HW[slice(*rows)].sum()
    assert inside > 0.8 * change_HW.sum()


def test_an_expression_comes_over_the_frames():
    frames = face.film(rng(1), face.draw_looks(rng(1)), 2.0, 0.0, 0.0)
    assert len(frames) == len(face.COURSE)
    assert all(frame.size == (face.SIDE, face.SIDE) for frame in frames)
    first, third = (np.asarray(frame, dtype=float)[24:36] for frame in (frames[0], frames[2]))
    assert np.abs(first - third).max() > 60


def test_words_lean_to_the_class_of_the_largest_score():
    style = words.draw_style(rng(0))
    for index in range(len(CLASSES)):
        leaning_C = 3.0 * np.eye(len(CLASSES))[index]
        said = " ".join(words.say(rng(s), style, leaning_C) for s in range(40)).lower()
        counts = [sum(said.count(word) for word in lexicon) for lexicon in words.LEXICON]
        assert int(np.argmax(counts)) == index


def test_each_class_has_words_of_its_own():
    assert len(words.LEXICON) == len(CLASSES)
    every = [word for lexicon in words.LEXICON for word in lexicon]
    assert len(every) == len(set(every)) == len(CLASSES) * len(words.LEXICON[0])


def recorded(heart=0.0, sweat=0.0, number=12):
    return [
        wearable.measure(rng(s), wearable.draw_body(rng(s)), 12.0, heart, sweat)
        for s in range(number)
    ]


def beats(signals):
    pulse_N = signals["bvp"]
    spectrum_F = np.abs(np.fft.rfft(pulse_N - pulse_N.mean(), 1 << 14))
    return np.argmax(spectrum_F) / (1 << 14) * 64 * 60


def test_a_body_shows_heart_and_sweat():
    assert np.mean([*map(beats, recorded(heart=1.2))]) > np.mean([*map(beats, recorded())]) + 8
    rise = [
        s["eda"].mean() - c["eda"].mean()
        for s, c in zip(recorded(sweat=1.5), recorded(), strict=True)
    ]
    assert np.mean(rise) > 0.2
    moved = [np.std(s["acc_x"]) for s in recorded(heart=1.5)]
    assert np.mean(moved) > 1.5 * np.mean([np.std(s["acc_x"]) for s in recorded(heart=-1.0)])


def test_signals_have_their_rates_and_plausible_values():
    for signals in recorded(number=3):
        assert {n: len(v) / 12 for n, v in signals.items()} == wearable.RATES_HZ
        assert (signals["eda"] > 0).all()
        assert (np.abs(signals["temp"] - 33) < 5).all()
        gravity = sum(signals[f"acc_{axis}"].mean() ** 2 for axis in "xyz") ** 0.5
        assert gravity == pytest.approx(1.0, abs=0.1)


def test_csv_columns_are_read_back_as_they_were():
    signals = recorded(number=1)[0]
    header, *lines = wearable.as_csv(signals).splitlines()
    assert header.split(",") == [f"{n}@{r}" for n, r in wearable.RATES_HZ.items()]
    columns = zip(*(line.split(",") for line in lines), strict=True)
    for (name, values_N), cells in zip(signals.items(), columns, strict=True):
        read_N = [float(cell) for cell in cells if cell]
        assert read_N == pytest.approx(values_N, abs=0.06), name
