from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from m3_backbone.config import Conditioning, M3Config
from m3_backbone.preprocess import best_resolution, pad_to_square, preprocess, resize_and_crop
from m3_backbone.types import CheckpointError
from tests.backbones import CONFIG, PREPROCESSOR, picture

PAD = M3Config.parse(CONFIG)
CROP = replace(PAD, aspect="square")
ANYRES = replace(PAD, aspect="anyres", pinpoints=((48, 96), (96, 48), (96, 96), (144, 48), (48, 144)))
CONDITIONING = Conditioning.parse(PREPROCESSOR, "preprocessor_config.json")


def test_padding_takes_the_mean_colour_and_centres_the_picture() -> None:
    image = Image.new("RGB", (96, 48), (255, 0, 0))
    pixels = preprocess(image, PAD, CONDITIONING).pixels[0]
    red = (255 / 255 - 0.5) / 0.3
    assert pixels[0, 24, 24] == pytest.approx(red, abs=1e-6)
    grey = (int(0.5 * 255) / 255 - 0.5) / 0.3
    assert pixels[0, 0, 24] == pytest.approx(grey, abs=1e-6)
    assert pixels[0, 47, 24] == pytest.approx(grey, abs=1e-6)


def test_alpha_is_dropped_and_every_mode_is_read_as_rgb() -> None:
    opaque = picture()
    clear = opaque.convert("RGBA")
    clear.putalpha(0)
    expected = preprocess(opaque, PAD, CONDITIONING).pixels
    np.testing.assert_array_equal(preprocess(clear, PAD, CONDITIONING).pixels, expected)
    for mode in ("L", "P", "1", "CMYK", "LA", "I", "F"):
        image = opaque.convert("L").convert(mode) if mode == "LA" else opaque.convert(mode)
        assert preprocess(image, PAD, CONDITIONING).pixels.shape == (1, 3, 48, 48)


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (47, 49), (48, 48), (5000, 3)])
@pytest.mark.parametrize("config", [PAD, ANYRES], ids=["pad", "anyres"])
def test_any_size_gives_finite_pixels(config: M3Config, size: tuple[int, int]) -> None:
    views = preprocess(Image.new("RGB", size, (9, 200, 30)), config, CONDITIONING)
    assert views.pixels.shape[1:] == (3, 48, 48)
    assert views.pixels.dtype == np.float32
    assert np.isfinite(views.pixels).all()
    assert views.size == size


def test_without_padding_the_centre_of_the_longer_side_is_taken() -> None:
    image = Image.new("RGB", (144, 48), (0, 0, 0))
    image.paste((255, 255, 255), (48, 0, 96, 48))
    assert (preprocess(image, CROP, CONDITIONING).pixels > 0).all()


def test_a_thread_of_an_image_is_refused_where_it_would_be_blown_up() -> None:
    with pytest.raises(ValueError, match="3000x10"):
        preprocess(Image.new("RGB", (3000, 10)), CROP, CONDITIONING)


def test_anyres_shows_the_whole_image_first_and_then_its_tiles_in_row_major_order() -> None:
    image = Image.new("RGB", (96, 96))
    for index, colour in enumerate(((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))):
        x, y = index % 2 * 48, index // 2 * 48
        image.paste(colour, (x, y, x + 48, y + 48))
    views = preprocess(image, ANYRES, CONDITIONING)
    assert views.tiles == (2, 2)
    assert views.pixels.shape == (5, 3, 48, 48)
    bright = [(view > 1.0).all(axis=(1, 2)).tolist() for view in views.pixels[1:]]
    assert bright == [[True, False, False], [False, True, False], [False, False, True], [True, True, True]]


def test_padding_and_cropping_are_the_8_bit_steps_of_the_pixels() -> None:
    config = M3Config.parse(CONFIG | {"image_aspect_ratio": "pad"})
    image = picture(size=(70, 31))
    square = pad_to_square(image, CONDITIONING.mean)
    assert square.size == (70, 70)
    assert square.getpixel((0, 0)) == tuple(int(value * 255) for value in CONDITIONING.mean)
    assert pad_to_square(square, CONDITIONING.mean) is square
    small = resize_and_crop(square, CONDITIONING.size)
    assert small.size == (48, 48)
    expected = preprocess(image, config, CONDITIONING).pixels
    assert np.array_equal(preprocess(small, config, CONDITIONING).pixels, expected)


def test_the_best_resolution_keeps_most_pixels_and_then_wastes_least() -> None:
    points = [(336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008)]
    assert best_resolution((640, 200), points) == (672, 336)
    assert best_resolution((200, 640), points) == (336, 672)
    assert best_resolution((2000, 2000), points) == (672, 672)
    assert best_resolution((3000, 900), points) == (1008, 336)
    assert best_resolution((10, 10), points) == (336, 672)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "0"),
        ({"crop_size": 47}, "size 48 and crop_size 47"),
        ({"resample": 2}, "resample 2"),
        ({"image_mean": [0.5]}, "image_mean"),
        ({"image_std": None}, "image_std"),
    ],
)
def test_a_preprocessor_that_is_not_clips_is_refused_with_its_value(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        Conditioning.parse(PREPROCESSOR | change, "preprocessor_config.json")
