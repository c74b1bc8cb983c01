"""Public centres and scales of the speech functionals.

Smooth rules and rounded numbers: the long-term average spectrum of speech falls above
500 Hz; cepstra shrink with their order; pitch lies within an octave of 185 Hz. Their sizes
were read off RAVDESS, a published corpus, and rounded. They bring the features to about zero
mean and unit size, so that a private run needs no statistics of its own data; on RAVDESS
itself they are knowledge from outside the privacy accounting.

Source: Byrne et al., An international comparison of long-term average speech spectra,
JASA 96, 1994, for the fall of the spectrum.
"""

import numpy as np
from scipy.fft import dct

from client.data.features.descriptors import BANDS
from client.data.features.spectrum import Array

CEPSTRA = 19
DECILE = 1.28
BAND = np.arange(BANDS)
LOW_BANDS = np.maximum(0, 6 - BAND)
ORDER = np.arange(1, CEPSTRA + 1)
Scaled = tuple[Array, Array]
Rows = list[tuple[float, float]]

MEL_MEAN: Scaled = (-8.0 - 2.0 * LOW_BANDS - 0.7 * np.maximum(0, BAND - 7), 4.0 + 1.5 * LOW_BANDS)
C_SPREAD = 37.0 / ORDER**0.65
C_SCALE = 17.0 / ORDER**0.6

# centroid and spread in kHz, two roll-offs in octaves, flatness, alpha ratio, Hammarberg index,
# five bands in dB, flux: centre over clips, spread within a clip, scale over clips
SHAPE = np.array(
    [
        (1.1, 1.2, 0.3),
        (0.7, 0.5, 0.15),
        (9.8, 1.3, 0.55),
        (9.0, 1.2, 0.55),
        (-5.4, 1.8, 0.6),
        (-9.0, 10.0, 4.0),
        (19.0, 11.0, 4.5),
        (-14.0, 8.0, 11.0),
        (-7.0, 6.5, 4.0),
        (-15.0, 9.0, 4.0),
        (-16.0, 8.0, 4.0),
        (-26.0, 12.0, 4.5),
        (0.4, 0.2, 0.06),
    ]
)
ENERGY: Rows = [(7.6, 1), (-15, 3), (-9, 3), (-3, 2), (2, 1), (5, 1), (2.1, 0.3), (1.5, 0.25)]
ENERGY += [(-2.3, 0.4), (2.6, 0.6), (0.83, 0.1), (0.45, 0.05), (-35, 10), (-30, 10), (-40, 10)]
PITCH: Rows = [(21, 7), (4.3, 2), (15, 7), (19, 7), (21, 7), (25, 7), (28, 7), (13, 7)]
PITCH += [(0.5, 0.12), (0.35, 0.1), (-0.6, 0.2), (0.4, 0.2), (1, 5), (-2, 4), (21, 7)]
VOICING: Rows = [(0.72, 0.08), (0.25, 0.04), (0.3, 0.1), (0.57, 0.15), (0.82, 0.1), (0.93, 0.05)]
VOICING += [(0.97, 0.03), (0.78, 0.1), (0.84, 0.05), (0.13, 0.02), (0.11, 0.04)]
MODULATION: Rows = [(-6, 2.5), (-6, 2.3), (-7, 2.3), (-10.5, 2.5), (-15.8, 2.5)]


def _constant(centre: float, scale: float, count: int) -> Scaled:
    return np.full(count, centre), np.full(count, scale)


def _table(rows: Rows) -> Scaled:
    values = np.array(rows, dtype=np.float64)
    return values[:, 0], values[:, 1]


def _cepstra() -> list[Scaled]:
    mean = dct(MEL_MEAN[0], norm="ortho")[1 : CEPSTRA + 1]
    return [
        (mean, C_SCALE),
        (C_SPREAD, np.full(CEPSTRA, 2.2)),
        (mean - DECILE * C_SPREAD, 1.15 * C_SCALE),
        (mean + DECILE * C_SPREAD, 1.15 * C_SCALE),
        (7.5 / ORDER**0.6, np.full(CEPSTRA, 0.4)),
        (5.3 / ORDER**0.55, np.full(CEPSTRA, 0.35)),
    ]


def _shape() -> list[Scaled]:
    centre, spread, scale = SHAPE.T
    active: list[Scaled] = [(centre, scale), (spread, 0.25 * spread)]
    active += [(centre + k * spread, 1.3 * scale) for k in (-DECILE, 0.0, DECILE)]
    return [*active, (centre, scale), (0.85 * spread, 0.25 * spread)]


def _groups() -> list[Scaled]:
    """In the order of client.data.features.speech."""
    bands = [MEL_MEAN, _constant(12.0, 2.2, BANDS), _constant(3.0, 0.42, BANDS)]
    tables = [_table(rows) for rows in (ENERGY, PITCH, VOICING)]
    modulation = [_constant(centre, scale, 6) for centre, scale in MODULATION]
    third: list[Scaled] = [
        (MEL_MEAN[0][::4], 1.3 * MEL_MEAN[1][::4]),
        _table([(-4, 2.5), (0, 2.5)]),
    ]
    return [*_cepstra(), *bands, *_shape(), *tables, *modulation, *third * 3]


CENTRE, SCALE = (np.concatenate(parts) for parts in zip(*_groups(), strict=True))
