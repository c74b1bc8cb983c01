"""Face-like drawings: head, eyes, brows and a mouth that follow a cue, frame by frame."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

SIDE = 40
SCALE = 2
"""Drawn larger and then reduced, so that lines a fraction of a pixel apart differ."""
COURSE = (0.6, 0.9, 1.0, 0.9)
"""How far an expression has come in each frame of a clip."""


@dataclass(frozen=True)
class Face:
    """A person's own looks, in shares of the picture's side or of full brightness.

    Args:
        width: half the head's width.
        height: half the head's height.
        eye_gap: half the distance between the eyes.
        eye_size: half an eye's width.
        mouth_width: half the mouth's width.
        skin: brightness of the skin.
        light: how much brighter the left is than the right.
        hair: how far hair comes down.
    """

    width: float
    height: float
    eye_gap: float
    eye_size: float
    mouth_width: float
    skin: float
    light: float
    hair: float


def draw_looks(rng: np.random.Generator) -> Face:
    """Draw a person's looks."""
    return Face(
        width=float(rng.uniform(0.33, 0.39)),
        height=float(rng.uniform(0.42, 0.47)),
        eye_gap=float(rng.uniform(0.14, 0.17)),
        eye_size=float(rng.uniform(0.06, 0.08)),
        mouth_width=float(rng.uniform(0.14, 0.18)),
        skin=float(rng.uniform(0.5, 0.85)),
        light=float(rng.normal(0, 0.15)),
        hair=float(rng.uniform(0.10, 0.20)),
    )


def film(
    rng: np.random.Generator, face: Face, mouth: float, brow: float, eyes: float
) -> list[Image.Image]:
    """Draw the frames of one clip, in greys.

    Args:
        rng: source of the head's small movements and the camera's noise.
        face: whose face.
        mouth: corners up (positive) or down.
        brow: inner ends up (positive) or down.
        eyes: open wide (positive) or narrowed.
    """
    x, y = rng.normal(0, 0.008, 2)
    frames = []
    for share in COURSE:
        x, y = x + rng.normal(0, 0.004), y + rng.normal(0, 0.004)
        picture = Image.new("L", (SIDE * SCALE, SIDE * SCALE), 40)
        pen = Pen(ImageDraw.Draw(picture), x, y)
        _draw(pen, face, share * mouth, share * brow, share * eyes)
        frames.append(_photograph(rng, face, picture.reduce(SCALE)))
    return frames


@dataclass(frozen=True)
class Pen:
    """Draws in shares of the picture's side around a head that moves a little."""

    draw: ImageDraw.ImageDraw
    x: float
    y: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the pixel of a point of the head; (0, 0) is its middle."""
        side = SIDE * SCALE
        return (0.5 + self.x + x) * side, (0.5 + self.y + y) * side

    def ellipse(self, x: float, y: float, width: float, height: float, grey: float) -> None:
        """Fill an ellipse, given its middle and half axes."""
        corners = [self.at(x - width, y - height), self.at(x + width, y + height)]
        self.draw.ellipse(corners, fill=round(255 * grey))

    def line(self, points: list[tuple[float, float]], width: float, grey: float) -> None:
        """Draw a bent line."""
        pixels = [self.at(x, y) for x, y in points]
        self.draw.line(pixels, fill=round(255 * grey), width=round(width * SIDE * SCALE))


def _draw(pen: Pen, face: Face, mouth: float, brow: float, eyes: float) -> None:
    pen.ellipse(0, -0.02, face.width + 0.03, face.height + 0.02, 0.1)
    pen.ellipse(0, face.hair / 2, face.width, face.height - face.hair / 3, face.skin)
    opening = face.eye_size * float(np.clip(0.55 + 0.28 * eyes, 0.1, 1.3))
    for side in (-1, 1):
        x = side * face.eye_gap
        pen.ellipse(x, -0.06, face.eye_size, opening, 0.95)
        pen.ellipse(x, -0.06, 0.028, min(0.028, opening), 0.05)
        inner, outer = -0.16 - 0.035 * brow, -0.16 + 0.02 * brow
        pen.line([(0.4 * x, inner), (1.5 * x, outer)], 0.03, 0.08)
    pen.line([(0, 0.0), (0.02, 0.09), (-0.01, 0.1)], 0.015, face.skin * 0.7)
    across = np.linspace(-1, 1, 9)
    bend = 0.055 * mouth
    curve = [(face.mouth_width * float(t), 0.22 + bend * (0.5 - float(t) ** 2)) for t in across]
    pen.line(curve, 0.04, 0.2)


def _photograph(rng: np.random.Generator, face: Face, picture: Image.Image) -> Image.Image:
    light_W = 1 + face.light * np.linspace(1, -1, SIDE)
    pixels_HW = np.asarray(picture, dtype=np.float64) * light_W + rng.normal(0, 6, (SIDE, SIDE))
    return Image.fromarray(np.clip(pixels_HW, 0, 255).astype(np.uint8))
