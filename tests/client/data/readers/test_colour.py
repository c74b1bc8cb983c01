"""Pictures in colour: from files, films and folders of pictures, none larger than it need be."""

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from client.data.readers import media
from client.data.readers.images import read_colour, reduced
from client.data.readers.media import film_pictures
from common.errors import DataError


def test_a_picture_keeps_its_colours_and_its_side_stays_useful(tmp_path):
    Image.new("RGB", (40, 30), (200, 10, 60)).save(tmp_path / "x.png")
    assert read_colour(tmp_path / "x.png").getpixel((5, 5)) == (200, 10, 60)
    Image.new("L", (3000, 2100)).save(tmp_path / "y.png")
    found = read_colour(tmp_path / "y.png")
    assert (found.mode, min(found.size)) == ("RGB", 525)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_camera_says(tmp_path, orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 24, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(tmp_path / "x.png")).convert("RGB")
    found = read_colour(tmp_path / "x.png")
    assert found.size == expected.size == ((24, 40) if orientation < 5 else (40, 24))
    assert np.array_equal(np.asarray(found), np.asarray(expected))
    found.resize((8, 8)).reduce(2)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_every_kind_of_picture_becomes_one_in_colour(tmp_path, mode):
    path = tmp_path / ("x.tiff" if mode == "CMYK" else "x.png")
    Image.new("RGB", (9, 7), (200, 10, 60)).convert(mode).save(path)
    assert np.array_equal(np.asarray(read_colour(path)), Image.open(path).convert("RGB"))


@pytest.mark.parametrize("size", [(512, 512), (1023, 4000), (100, 9000)])
def test_what_is_not_twice_as_large_stays_as_it_is(size):
    assert reduced(Image.new("RGB", size)).size == size


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_said(tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.png"):
        read_colour(tmp_path / "x.png")


@pytest.mark.parametrize(
    ("window", "rate_hz", "count"),
    [((0.0, None), 1.0, 3), ((0.0, None), 5.0, 15), ((0.0, None), 10.0, 30),
     ((0.0, None), 30.0, 30), ((1.0, 2.0), 2.0, 2), ((2.5, None), 1.0, 1)],
)  # fmt: skip
def test_a_film_at_an_even_rate(make, tmp_path, window, rate_hz, count):
    film = make.film(tmp_path / "f.mp4", seconds=3.0, hz=10)
    found = [*film_pictures(film, window, rate_hz)]
    assert len(found) == count
    assert all(picture.mode == "RGB" for picture in found)


def test_a_window_is_all_that_is_seen(make, tmp_path):
    film = make.film(tmp_path / "f.mp4", seconds=3.0, hz=10)
    whole = [np.asarray(picture) for picture in film_pictures(film, (0.0, None), 10.0)]
    later = [np.asarray(picture) for picture in film_pictures(film, (1.0, 2.0), 10.0)]
    assert len(later) == 10
    assert all((a == b).all() for a, b in zip(later, whole[10:20], strict=True))


def test_a_folder_of_pictures_is_a_film_of_25_a_second(make, tmp_path):
    for number in range(60):
        make.picture(tmp_path / "film" / f"{number:04}.png", seed=number)
    assert len([*film_pictures(tmp_path / "film", (0.0, None), 5.0)]) == 12
    assert len([*film_pictures(tmp_path / "film", (1.0, 2.0), 25.0)]) == 25
    with pytest.raises(DataError, match="no picture inside"):
        [*film_pictures(tmp_path / "film", (9.0, None), 1.0)]


def test_a_window_beyond_the_film_is_said(make, tmp_path):
    with pytest.raises(DataError, match="no picture inside"):
        [*film_pictures(make.film(tmp_path / "f.mp4"), (30.0, 40.0), 1.0)]


def test_a_gap_in_a_film_is_not_made_up_for(monkeypatch, tmp_path):
    times_s = [0.0, 0.1, 0.2, 3.0, 3.1, 3.2, 3.3]
    shown = [(at, lambda at=at: Image.new("RGB", (4, 4), (int(10 * at), 0, 0))) for at in times_s]
    monkeypatch.setattr(media, "_timed_frames", lambda _path, _window: iter(shown))
    found = [*film_pictures(tmp_path / "f.mp4", (0.0, None), 5.0)]
    assert [picture.getpixel((0, 0))[0] for picture in found] == [0, 2, 30, 32]
