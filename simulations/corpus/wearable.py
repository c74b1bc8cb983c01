"""Signals of a wrist band: pulse, skin conductance, temperature and movement, as one CSV text."""

from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
RATES_HZ = {"bvp": 64, "eda": 4, "temp": 4, "acc_x": 32, "acc_y": 32, "acc_z": 32}


@dataclass(frozen=True)
class Body:
    """A person's own baseline.

    Args:
        heart_bpm: resting pulse.
        pulse_size: size of the pulse wave, in the device's units.
        conductance_us: resting skin conductance, µS.
        temperature_c: skin temperature, °C.
        posture: direction of gravity seen by the band, radians.
    """

    heart_bpm: float
    pulse_size: float
    conductance_us: float
    temperature_c: float
    posture: float


def draw_body(rng: np.random.Generator) -> Body:
    """Draw a person's baseline."""
    return Body(
        heart_bpm=float(rng.normal(72, 5)),
        pulse_size=float(rng.uniform(40, 80)),
        conductance_us=float(rng.lognormal(0.8, 0.4)),
        temperature_c=float(rng.normal(33, 0.8)),
        posture=float(rng.uniform(0, 2 * np.pi)),
    )


def measure(
    rng: np.random.Generator, body: Body, seconds: float, heart: float, sweat: float
) -> dict[str, FloatArray]:
    """Record all signals for a while.

    Args:
        rng: source of beats, responses, movement and the sensors' noise.
        body: whose wrist.
        seconds: length.
        heart: raises the pulse and its regularity, and makes the hand move; 0 is usual.
        sweat: raises conductance and the number of its responses, and cools the skin.
    """
    time = {name: np.arange(int(seconds * rate)) / rate for name, rate in RATES_HZ.items()}
    temperature_N = body.temperature_c - 0.15 * sweat - 0.01 * sweat * time["temp"]
    movement = 0.02 * 2 ** (0.8 * heart)
    gravity = {"acc_x": np.cos(body.posture), "acc_y": np.sin(body.posture), "acc_z": 0.2}
    return {
        "bvp": _pulse(rng, body, heart, time["bvp"]),
        "eda": _conductance(rng, body, sweat, time["eda"]),
        "temp": temperature_N + 0.02 * rng.standard_normal(len(temperature_N)),
        **{
            axis: pull + movement * rng.standard_normal(len(time[axis]))
            for axis, pull in gravity.items()
        },
    }


def _pulse(rng: np.random.Generator, body: Body, heart: float, time_N: FloatArray) -> FloatArray:
    """Beats with a second, smaller wave; a fast heart beats more regularly and narrowly."""
    beat_hz = body.heart_bpm / 60 * 2 ** (0.22 * np.clip(heart, -3, 3))
    irregular = 0.05 * 2 ** (-0.7 * heart)
    rate_N = beat_hz * (1 + irregular * np.sin(2 * np.pi * 0.25 * time_N + rng.uniform(0, 6.28)))
    phase_N = 2 * np.pi * (np.cumsum(rate_N) * (time_N[1] - time_N[0]) + rng.random())
    wave_N = np.sin(phase_N) + 0.4 * np.sin(2 * phase_N + 0.8)
    size = body.pulse_size * 2 ** (-0.3 * heart)
    pulse_N: FloatArray = size * wave_N + 2 * rng.standard_normal(len(time_N))
    return pulse_N


def _conductance(
    rng: np.random.Generator, body: Body, sweat: float, time_N: FloatArray
) -> FloatArray:
    """A level with a slope, and responses that rise within a second and fade over some."""
    level = body.conductance_us * 2 ** (0.2 * sweat)
    tonic_N = level + 0.02 * sweat * time_N
    number = rng.poisson(time_N[-1] / 6 * 2 ** np.clip(sweat, -3, 3))
    since_NR = np.maximum(0, time_N[:, None] - rng.uniform(-2, time_N[-1], number))
    phasic_N = 0.3 * ((1 - np.exp(-since_NR / 0.7)) * np.exp(-since_NR / 3)).sum(axis=1)
    noise_N = 0.005 * rng.standard_normal(len(time_N))
    conductance_N: FloatArray = np.maximum(0.05, tonic_N + phasic_N + noise_N)
    return conductance_N


def as_csv(signals: dict[str, FloatArray]) -> str:
    """Write signals as columns `NAME@RATE`; the shorter ones end in empty cells."""
    header = ",".join(f"{name}@{RATES_HZ[name]}" for name in signals)
    digits = {"bvp": 1, "temp": 2}
    columns = [
        [f"{value:.{digits.get(name, 3)}f}" for value in values.tolist()]
        for name, values in signals.items()
    ]
    rows = (",".join(row) for row in zip_longest(*columns, fillvalue=""))
    return "\n".join((header, *rows, ""))
