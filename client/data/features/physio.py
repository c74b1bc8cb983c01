"""Functionals of wearable signals over one window; absent signals stand at zero.

Counts and sums inside a window are brought to a rate per minute, so that a window's
length leaves no trace.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

from client.data.arrays import FloatArray
from client.data.features import heart as h
from client.data.features import wearable as w
from client.data.features.base import FrontEnd, Window
from client.data.manifest import Source
from client.data.readers.signals import Signal, read_signals, signal_files
from common.errors import DataError
from common.inputs import Options

LIMIT = 5.0
LEAST_S = 8.0
LEAST_KNOWN = 0.5
WAVE_HZ = 4.0
Array = npt.NDArray[np.float64]
Rows = list[tuple[float, float]]


def physio_functionals(
    signals: Mapping[str, Signal], start_s: float, end_s: float | None
) -> FloatArray:
    """Return 66 numbers on a window of bvp or ecg, eda, temp, acc, hr and resp.

    Guarantees: finite values within ± 5 by public constants; a signal that is absent,
    shorter than 8 s or known for less than half of the window leaves zeros.

    Raises:
        DataError: when no signal at all reaches into the window.
    """
    cut = {name: signal.window(start_s, end_s) for name, signal in signals.items()}
    if not any(len(values) for values in cut.values()):
        end = "the end" if end_s is None else f"{end_s:g} s"
        raise DataError(f"no signal between {start_s:g} s and {end}")
    parts = []
    for names, rate_hz, rows, compute in GROUPS:
        name = next((n for n in names if n in cut), None)
        wave = None
        if name is not None:
            axes = 3 if compute is w.movement else 1
            wave = _even(cut[name], signals[name].rate_hz, rate_hz, axes)
        parts.append(_scaled(wave, rows, compute))
    parts += [_rate(cut, signals, "hr", w.HEART_RATE), _rate(cut, signals, "resp", w.BREATH)]
    return np.concatenate(parts).astype(np.float32)


GROUPS: tuple[tuple[tuple[str, ...], int, Rows, Callable[[Array], Array]], ...] = (
    (("eda",), w.EDA_HZ, w.EDA, w.eda),
    (("bvp", "ecg"), h.RATE_HZ, h.HEART, h.heart),
    (("temp",), w.TEMPERATURE_HZ, w.TEMPERATURE, w.temperature),
    (("acc",), w.ACC_HZ, w.ACC, w.movement),
)


def _rate(cut: Mapping[str, Array], signals: Mapping[str, Signal], name: str, rows: Rows) -> Array:
    """A rate per minute as it stands, or from the peaks of a respiration wave."""
    if name not in cut:
        return np.zeros(len(rows))
    rate_hz = signals[name].rate_hz
    if rate_hz >= WAVE_HZ:
        wave = _even(cut[name], rate_hz, w.BREATH_HZ, 1)
        values = None if wave is None else w.breathing_rate(wave)
        values = values if values is not None and len(values) else None
        rate_hz = float(np.median(values)) / 60 if values is not None else 1.0
    else:
        values = _known(cut[name], rate_hz, 1)
    return _scaled(values, rows, lambda rate: w.slow_rate(rate, rate_hz))


def _scaled(values: Array | None, rows: Rows, compute: Callable[[Array], Array]) -> Array:
    if values is None:
        return np.zeros(len(rows))
    centre, scale = np.array(rows, dtype=np.float64).T
    scaled = np.nan_to_num((compute(values) - centre) / scale, posinf=LIMIT, neginf=-LIMIT)
    return np.asarray(np.clip(scaled, -LIMIT, LIMIT))


def _even(values: Array, rate_hz: float, target_hz: float, axes: int) -> Array | None:
    known = _known(values, rate_hz, axes)
    if known is None or abs(rate_hz - target_hz) < 1e-3 * target_hz:
        return known
    ratio = Fraction(target_hz / rate_hz).limit_denominator(500)
    if not ratio:
        return None
    start = known[:1]
    return np.asarray(start + resample_poly(known - start, ratio.numerator, ratio.denominator))


def _known(values: Array, rate_hz: float, axes: int) -> Array | None:
    """Return a signal without gaps, or None where it is too short or mostly unknown."""
    if (values.ndim == 2) != (axes > 1) or (values.ndim == 2 and values.shape[1] != axes):
        return None
    columns = values.reshape(len(values), axes).T
    if len(values) < max(LEAST_S * rate_hz, 8):
        return None
    if np.isfinite(columns).all(axis=0).mean() < LEAST_KNOWN:
        return None
    even = np.column_stack([_bridged(column) for column in columns])
    return even if axes > 1 else even[:, 0]


def _bridged(values: Array) -> Array:
    known = np.isfinite(values)
    if known.all():
        return values
    index = np.arange(len(values))
    return np.asarray(np.interp(index, index[known], values[known]))


def _extract(source: Source, windows: Sequence[Window], options: Options) -> list[FloatArray]:
    signals = read_signals(Path(str(source)))
    return [physio_functionals(signals, start_s, end_s) for start_s, end_s in windows]


PHYSIO_FUNCTIONALS = FrontEnd(version=1, files=signal_files, extract=_extract)
