"""Skin conductance, skin temperature, movement and slow rates from wearable signals."""

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, find_peaks, sosfiltfilt

Array = npt.NDArray[np.float64]
Rows = list[tuple[float, float]]

EDA_HZ, TEMPERATURE_HZ, ACC_HZ, BREATH_HZ = 4, 4, 32, 8
EDA: Rows = [(0, 0.5), (-1.4, 0.6), (-1.4, 0.45), (0, 0.1), (-1.9, 0.6), (-1.8, 0.45)]
EDA += [(-2, 0.5), (-1.8, 0.35), (0.25, 0.4), (-0.2, 0.35), (0.12, 0.12), (0.45, 0.1)]
EDA += [(5, 5), (2, 3), (-1, 0.8), (-1.2, 0.6)]
TEMPERATURE: Rows = [(32, 2.5), (0, 0.2), (-1.4, 0.25)]
ACC: Rows = [(-1.6, 0.4), (-1.6, 0.3), (-1.75, 0.3), (-1.3, 0.4), (-2.1, 0.3), (0.15, 0.2)]
ACC += [(-1, 0.55), (0, 0.6), (0, 0.6), (0, 0.6)]
ACC += [(-1.5, 0.35), (-0.8, 0.35), (-0.55, 0.2), (-0.6, 0.2), (-0.9, 0.3)]
HEART_RATE: Rows = [(80, 13), (0.3, 0.35), (0, 10), (76, 12), (84, 13)]
BREATH: Rows = [(14, 3), (-0.2, 0.4), (0, 2), (12.5, 3), (15.5, 3)]
"""Centre and scale of the functions below: µS, °C, g, rates per minute; spreads as log10.

Rounded from Stress-Predict, a published corpus; there, they lie outside the privacy accounting.
"""

MOVEMENT_HZ = ((0.05, 0.5), (0.5, 2.0), (2.0, 5.0), (5.0, 10.0), (10.0, 16.0))


def slope(values: Array, rate_hz: float) -> float:
    """Return the regression slope per minute."""
    minutes = (np.arange(len(values)) - (len(values) - 1) / 2) / rate_hz / 60
    return float((minutes * (values - values.mean())).sum() / np.square(minutes).sum())


def eda(level: Array) -> Array:
    """Return 16 numbers on skin conductance in µS at 4 Hz.

    Level and spread; spread to level, slope of the logarithm, spread of the phasic part,
    alone and to the tonic level; speed of change, its deciles, shares of rising; number
    per minute of skin conductance responses above 0.01 and 0.05 µS, their sum and the tallest.
    """
    level = np.maximum(level, 0.0)
    log = np.log10(level + 0.05)
    tonic, smooth = _low(level, 0.05, EDA_HZ), _low(level, 1.0, EDA_HZ)
    phasic, change = level - tonic, np.diff(smooth) * EDA_HZ
    size, speed = level.mean() + 0.05, np.abs(change).mean()
    spreads = [level.std() / size, phasic.std(), phasic.std() / (max(tonic.mean(), 0.0) + 0.05)]
    relative, moving, moving_relative = np.log10(np.array(spreads) + 1e-3)
    speeds = np.log10(np.array([speed, speed / size]) + 1e-3)
    deciles = np.percentile(change, [90, 10]) * 10
    levels = [log.mean(), np.log10(level.std() + 1e-3), relative, slope(log, EDA_HZ)]
    rising = [(change > 0.01).mean(), (change > 0).mean()]
    return np.array(
        [*levels, moving, moving_relative, *speeds, *deciles, *rising, *_responses(smooth)]
    )


def temperature(level: Array) -> Array:
    """Return mean in °C, slope per minute and log spread."""
    return np.array([level.mean(), slope(level, TEMPERATURE_HZ), np.log10(level.std() + 1e-2)])


def movement(acc_T3: Array) -> Array:
    """Return 15 numbers on acceleration in any unit; rest is taken as 1 g."""
    acc_T3 = acc_T3 / max(float(np.median(np.linalg.norm(acc_T3, axis=1))), 1e-6)
    size = np.linalg.norm(acc_T3, axis=1)
    step = np.linalg.norm(np.diff(acc_T3, axis=0), axis=1)
    second = step[: len(step) // ACC_HZ * ACC_HZ].reshape(-1, ACC_HZ).mean(axis=1)
    middle, high, low = np.percentile(second, [50, 90, 10])
    spreads = [size.std(), step.mean(), middle, high, low]
    amount = [*np.log10(np.array(spreads) + 1e-3), (second > 0.05).mean()]
    widest = np.log10(acc_T3.std(axis=0).max() + 1e-3)
    return np.array([*amount, widest, *acc_T3.mean(axis=0), *_movement_bands(size)])


def slow_rate(rate: Array, rate_hz: float) -> Array:
    """Return mean, log spread, slope per minute and deciles of a rate per minute."""
    deciles = np.percentile(rate, [10, 90])
    return np.array([rate.mean(), np.log10(rate.std() + 0.1), slope(rate, rate_hz), *deciles])


def breathing_rate(wave: Array) -> Array:
    """Return breaths per minute from the peaks of a respiration wave at 8 Hz."""
    band = butter(2, (0.08, 0.6), "band", fs=BREATH_HZ, output="sos")
    breath = sosfiltfilt(band, wave)
    peaks, _ = find_peaks(breath, distance=BREATH_HZ, prominence=0.5 * float(breath.std()) + 1e-9)
    rate = 60 * BREATH_HZ / np.diff(peaks) if len(peaks) > 3 else np.zeros(0)
    return np.asarray(rate)


def _responses(smooth: Array) -> list[float]:
    small, found = find_peaks(smooth, prominence=0.01)
    clear, _ = find_peaks(smooth, prominence=0.05)
    height = found["prominences"]
    tallest = float(height.max()) if len(height) else 0.0
    minutes = len(smooth) / EDA_HZ / 60
    sizes = np.log10([float(height.sum()) / minutes + 1e-2, tallest + 1e-2])
    return [len(small) / minutes, len(clear) / minutes, *sizes]


def _movement_bands(size: Array) -> Array:
    power = np.square(np.abs(np.fft.rfft(size - size.mean())))
    hz = np.fft.rfftfreq(len(size), 1 / ACC_HZ)
    total = power[1:].sum() + 1e-9
    shares = [power[(hz >= low) & (hz < high)].sum() / total for low, high in MOVEMENT_HZ]
    return np.log10(np.array(shares) + 1e-4)


def _low(values: Array, cut_hz: float, rate_hz: float) -> Array:
    return np.asarray(sosfiltfilt(butter(2, cut_hz, "low", fs=rate_hz, output="sos"), values))
