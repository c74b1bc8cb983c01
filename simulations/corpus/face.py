"""Face-like drawings: head, eyes, brows and a mouth that follow a cue, frame by frame."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

SIDE = 40
SCALE = 2
"""Drawn larger and then reduced, so that lines a fraction of a pixel apart differ."""
COURSE = (0.1, 0.6, 1.0, 1.0)
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
        width=float(rng.uniform(0.56, 0.62)),
        height=float(rng.uniform(0.60, 0.66)),
        eye_gap=float(rng.uniform(0.20, 0.23)),
        eye_size=float(rng.uniform(0.085, 0.105)),
        mouth_width=float(rng.uniform(0.19, 0.23)),
        skin=float(rng.uniform(0.55, 0.8)),
        light=float(rng.normal(0, 0.08)),
        hair=float(rng.uniform(0.00, 0.08)),
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
        picture = Image.new("L", (SIDE * SCALE, SIDE * SCALE), 100)
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
    pen.ellipse(0, -0.02, face.width + 0.05, face.height + 0.02, 0.7 * face.skin)
    pen.ellipse(0, face.hair / 2, face.width, face.height - face.hair / 3, face.skin)
    opening = face.eye_size * float(np.clip(0.6 + 0.4 * eyes, 0.1, 1.6))
    for side in (-1, 1):
        x = side * face.eye_gap
        pen.ellipse(x, -0.07, face.eye_size, opening, 0.95)
        pen.ellipse(x, -0.07, 0.04, min(0.04, opening), 0.05)
        inner, outer = -0.24 - 0.07 * brow, -0.24 + 0.045 * brow
        pen.line([(0.35 * x, inner), (1.6 * x, outer)], 0.065, 0.08)
    pen.line([(0, 0.0), (0.02, 0.10), (-0.01, 0.11)], 0.015, face.skin * 0.7)
    across = np.linspace(-1, 1, 9)
    bend = 0.11 * mouth
    curve = [(face.mouth_width * float(t), 0.28 + bend * (0.5 - float(t) ** 2)) for t in across]
    pen.line(curve, 0.075, 0.12)


def _photograph(rng: np.random.Generator, face: Face, picture: Image.Image) -> Image.Image:
    light_W = 1 + face.light * np.linspace(1, -1, SIDE)
    pixels_HW = np.asarray(picture, dtype=np.float64) * light_W + rng.normal(0, 6, (SIDE, SIDE))
    return Image.fromarray(np.clip(pixels_HW, 0, 255).astype(np.uint8))
