"""Heart rate and its variability from a pulse wave (BVP) or an ECG."""

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, find_peaks, sosfiltfilt

RATE_HZ = 64
PULSE_HZ = (0.7, 4.0)
SHORTEST_BEAT_S, LONGEST_BEAT_S = 0.35, 1.6
LEAST_BEATS = 6
SPECTRUM_HZ = ((0.1, 0.5), (0.5, 1.0), (1.0, 1.5), (1.5, 2.5), (2.5, 5.0), (5.0, 10.0))
Array = npt.NDArray[np.float64]
HEART: list[tuple[float, float]] = [(80, 13), (95, 16), (68, 11), (78, 13), (72, 17)]
HEART += [(-1.05, 0.2), (-0.95, 0.25), (0.55, 0.22), (-1.15, 0.3), (-0.12, 0.15)]
HEART += [(0.8, 0.15), (1.3, 0.2), (-0.25, 0.3), (0, 0.5), (-0.8, 0.7)]
HEART += [(-1.1, 0.4), (-0.7, 0.4), (-0.5, 0.3), (-0.8, 0.3), (-1.2, 0.3), (-2.2, 0.4), (0, 8)]
"""Centre and scale of `heart`: rates per minute, seconds and shares by their decimal logarithm.

Rounded from Stress-Predict, a published corpus; there, they lie outside the privacy accounting.
"""


def heart(wave: Array) -> Array:
    """Return 22 numbers on a pulse wave at 64 Hz; NaN where too few beats were found.

    Mean, high, low and median rate, the rate of the strongest frequency; spread of the
    beat intervals, RMSSD, share of jumps over 50 ms, median jump, spread to RMSSD; share
    of plausible intervals and beats per second; how the amplitude varies, drifts and
    dips; six bands of the spectrum; trend of the rate per minute.
    """
    pulse = sosfiltfilt(butter(2, PULSE_HZ, "band", fs=RATE_HZ, output="sos"), wave)
    beat_s, interval_s, plausible = beats(pulse)
    rates = _rates(beat_s, interval_s, plausible)
    return np.concatenate(
        [
            rates[:4],
            _strongest(wave),
            _variability(interval_s, plausible),
            [plausible.mean() if len(plausible) else 0.0, len(interval_s) / len(wave) * RATE_HZ],
            _amplitude(pulse),
            _spectrum(wave),
            rates[4:],
        ]
    )


def beats(pulse: Array) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
    """Return times of beats, intervals between them, and which intervals are plausible."""
    size = 1.4826 * float(np.median(np.abs(pulse))) + 1e-9
    peaks, _ = find_peaks(pulse, distance=RATE_HZ // 3, prominence=0.6 * size)
    interval_s = np.diff(peaks) / RATE_HZ
    plausible = (interval_s > SHORTEST_BEAT_S) & (interval_s < LONGEST_BEAT_S)
    if plausible.any():
        usual_s = np.median(interval_s[plausible])
        plausible &= np.abs(interval_s - usual_s) < 0.3 * usual_s
    return peaks / RATE_HZ, interval_s, plausible


def _rates(beat_s: Array, interval_s: Array, plausible: npt.NDArray[np.bool_]) -> Array:
    if plausible.sum() < LEAST_BEATS:
        return np.full(5, np.nan)
    rate = 60 / interval_s[plausible]
    time_s = beat_s[1:][plausible]
    trend = np.polyfit(time_s - time_s.mean(), rate, 1)[0] * 60
    return np.array([rate.mean(), *np.percentile(rate, [90, 10]), np.median(rate), trend])


def _variability(interval_s: Array, plausible: npt.NDArray[np.bool_]) -> Array:
    jump_s = np.abs(np.diff(interval_s))[plausible[1:] & plausible[:-1]]
    if len(jump_s) < LEAST_BEATS - 1:
        return np.full(5, np.nan)
    spread = interval_s[plausible].std() + 1e-3
    rmssd = np.sqrt(np.square(jump_s).mean()) + 1e-3
    logs = np.log10([spread, rmssd, np.median(jump_s) + 1e-3, spread / rmssd])
    return np.array([logs[0], logs[1], (jump_s > 0.05).mean(), logs[2], logs[3]])


def _amplitude(pulse: Array) -> Array:
    low = butter(2, 0.3, "low", fs=RATE_HZ, output="sos")
    floor = 1e-3 * (float(np.abs(pulse).mean()) + 1e-9)
    envelope = np.sqrt(np.maximum(sosfiltfilt(low, np.square(pulse)), floor**2))
    minutes = np.arange(len(envelope)) / RATE_HZ / 60
    trend = np.polyfit(minutes - minutes.mean(), np.log10(envelope), 1)[0]
    deep, high = np.percentile(envelope, [10, 90])
    return np.array(
        [np.log10(envelope.std() / envelope.mean() + 1e-3), trend, np.log10(deep / high)]
    )


def _power(wave: Array) -> tuple[Array, Array]:
    tapered = (wave - wave.mean()) * np.hanning(len(wave))
    power = np.square(np.abs(np.fft.rfft(tapered)))
    return np.asarray(np.fft.rfftfreq(len(wave), 1 / RATE_HZ), np.float64), np.asarray(power)


def _strongest(wave: Array) -> Array:
    hz, power = _power(wave)
    pulse = (hz > PULSE_HZ[0]) & (hz < 3.5)
    return np.array([hz[pulse][power[pulse].argmax()] * 60])


def _spectrum(wave: Array) -> Array:
    hz, power = _power(wave)
    total = power[(hz > 0.1) & (hz < 10)].sum() + 1e-9
    shares = [power[(hz >= low) & (hz < high)].sum() / total for low, high in SPECTRUM_HZ]
    return np.log10(np.array(shares) + 1e-4)
