"""A shorter way from a picture to what an encoder reads ends where the long one does."""

import numpy as np
import pytest
import torch
from PIL import Image

from client.data.encoders.folder import look_through
from client.data.encoders.loading import load_parts
from client.data.encoders.pixels import Pixels, looked_up, pixels_for

SHAPES = ((7, 200), (200, 7), (48, 64), (240, 320), (700, 513), (32, 32))
CPU = torch.device("cpu")


def picture(height, width):
    rng = np.random.default_rng(height * width)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def processor(encoder_store, name):
    return load_parts(look_through(encoder_store(name)), "image", CPU).processor


@pytest.mark.parametrize(
    ("name", "is_resized"), [("vit", True), ("clip", False), ("dinov2", False), ("convnext", False)]
)
def test_it_equals_what_the_processor_returns(encoder_store, name, is_resized):
    own = processor(encoder_store, name)
    pixels = pixels_for(own)
    assert pixels.table_CV.shape == (3, 256)
    assert (pixels.way.func.__name__ == "_resized") == is_resized
    pictures = [picture(*shape) for shape in SHAPES]
    kept = [pixels.of(one) for one in pictures]
    assert {one.dtype.name for one in kept} == {"uint8"}
    expected = torch.cat([own(images=one, return_tensors="pt")["pixel_values"] for one in pictures])
    assert torch.equal(pixels.together(kept), expected)


class Odd:
    """A processor that does something else than to scale number by number."""

    do_resize = False

    def __init__(self, oddity):
        self.oddity = oddity

    def __call__(self, images, do_rescale=True, do_normalize=True, **options):
        if options and self.oddity == "refuses":
            raise TypeError("unknown option")
        x_CHW = np.asarray(images).transpose(2, 0, 1)
        if do_rescale:
            x_CHW = (x_CHW / 255).astype(np.float32)
            if self.oddity == "by picture":
                x_CHW = x_CHW - x_CHW.mean()
            elif self.oddity == "by place":
                x_CHW = x_CHW + np.linspace(0, 1, x_CHW.shape[2], dtype=np.float32)
        return {"pixel_values": [x_CHW]}


@pytest.mark.parametrize("oddity", ["by picture", "by place", "refuses"])
def test_a_processor_that_does_more_is_asked_itself(oddity):
    own = Odd(oddity)
    assert pixels_for(own) == Pixels(own)
    one = picture(20, 30)
    (expected,) = own(one)["pixel_values"]
    found = pixels_for(own).together([pixels_for(own).of(one)] * 2)
    assert np.array_equal(found.numpy(), np.stack([expected, expected]))


def test_one_that_only_scales_is_looked_up():
    pixels = pixels_for(Odd("none"))
    assert np.array_equal(pixels.table_CV[1], (np.arange(256) / 255).astype(np.float32))


def test_each_channel_has_its_own_values():
    table_CV = np.arange(768, dtype=np.float32).reshape(3, 256)
    numbers_CHW = np.array([[[0, 255]], [[1, 2]], [[0, 255]]], dtype=np.uint8)
    assert looked_up(table_CV, [numbers_CHW])[0].tolist() == [
        [[0, 255]],
        [[257, 258]],
        [[512, 767]],
    ]
