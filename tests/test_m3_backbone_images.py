"""Images are decoded upright, within limits, or refused with a stable code; Pillow never warns or crashes."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from m3_backbone.images import ImageLimits, decode
from tests.image_files import (
    ENCODERS,
    HUGE,
    SEEDS,
    encoded,
    exif,
    jpeg_segment,
    pixels,
    png,
    png_header,
    refusal,
)

# What is decoded


@pytest.mark.parametrize("format", ENCODERS)
def test_each_format_gives_rgb_pixels_of_its_size(format: str) -> None:
    image = decode(ENCODERS[format](pixels()))
    assert (image.mode, image.size) == ("RGB", (40, 24))
    difference = np.abs(np.asarray(image).astype(int) - pixels())
    assert difference.mean() < (12 if format == "GIF" else 4)


@pytest.mark.parametrize("format", ENCODERS)
def test_pixels_equal_what_pillow_alone_gives(format: str) -> None:
    data = ENCODERS[format](pixels())
    with Image.open(BytesIO(data)) as reference:
        assert np.array_equal(np.asarray(decode(data)), np.asarray(reference.convert("RGB")))


def test_progressive_jpegs_are_decoded() -> None:
    data = encoded(pixels(), "JPEG", progressive=True, quality=95)
    assert np.abs(np.asarray(decode(data)).astype(int) - pixels()).mean() < 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_png_modes_give_the_reference_conversion(mode: str) -> None:
    original = Image.fromarray(pixels()).convert(mode)
    assert np.array_equal(np.asarray(decode(encoded(original, "PNG"))), np.asarray(original.convert("RGB")))


def test_alpha_is_dropped_and_not_composited() -> None:
    rgba = Image.new("RGBA", (4, 4), (200, 100, 50, 0))
    assert decode(encoded(rgba, "PNG")).getpixel((0, 0)) == (200, 100, 50)
    webp = decode(encoded(rgba, "WEBP", lossless=True, exact=True))
    assert webp.getpixel((0, 0)) == (200, 100, 50)


def test_a_palette_with_transparency_gives_its_colours_without_a_warning() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    for transparency in (b"\x00\x80", 1):
        image = decode(encoded(palette, "PNG", transparency=transparency))
        assert [image.getpixel((x, 0)) for x in (0, 1)] == [(10, 20, 30), (40, 50, 60)]
    assert decode(encoded(palette, "GIF", transparency=1)).getpixel((1, 0)) == (40, 50, 60)


def test_sixteen_bit_grey_keeps_its_upper_byte() -> None:
    ramp = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    image = decode(encoded(Image.fromarray(ramp), "PNG"))
    assert np.array_equal(np.asarray(image)[..., 0], np.arange(256).reshape(16, 16))


def test_sixteen_bit_colour_keeps_its_upper_byte() -> None:
    row = b"\0" + struct.pack(">HHH", 0x12FF, 0x80FF, 0xFE01)
    data = png(png_header(1, 1, depth=16), (b"IDAT", zlib.compress(row)), (b"IEND", b""))
    assert decode(data).getpixel((0, 0)) == (0x12, 0x80, 0xFE)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpeg_modes_give_the_reference_conversion(mode: str) -> None:
    data = encoded(Image.fromarray(pixels()).convert(mode), "JPEG", quality=95)
    with Image.open(BytesIO(data)) as reference:
        assert np.array_equal(np.asarray(decode(data)), np.asarray(reference.convert("RGB")))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
    assert decode(data).getpixel((4, 4)) == pytest.approx((255, 0, 0), abs=3)


def test_the_result_holds_no_metadata() -> None:
    info = PngInfo()
    info.add_text("comment", "private")
    assert decode(encoded(pixels(), "PNG", pnginfo=info, dpi=(72, 72))).info == {}
    assert decode(encoded(pixels(), "JPEG", comment=b"private", exif=Image.Exif())).info == {}


# Orientation


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_photographs_are_turned_upright(format: str, orientation: int, order: str) -> None:
    data = encoded(pixels(), format, exif=b"Exif\0\0" + exif(orientation, order))
    with Image.open(BytesIO(data)) as stored:
        upright = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
    assert np.array_equal(np.asarray(decode(data)), upright)


@pytest.mark.parametrize(
    "block",
    [
        exif(0),
        exif(9),
        exif(6, kind=4),
        exif(6)[:12],
        b"II*\0" + struct.pack("<I", 2**31),
        b"II*\0" + struct.pack("<IH", 8, 65535),
        b"no tiff at all",
        b"",
    ],
)
def test_nonsense_in_exif_leaves_the_image_as_stored(block: bytes) -> None:
    data = b"\xff\xd8" + jpeg_segment(0xE1, b"Exif\0\0" + block) + encoded(pixels(), "JPEG")[2:]
    assert decode(data).size == (40, 24)


def test_a_jpeg_with_a_preview_in_its_exif_is_the_main_picture() -> None:
    preview = encoded(pixels(8, 8), "JPEG")
    data = b"\xff\xd8" + jpeg_segment(0xE1, b"Exif\0\0" + exif(6) + preview) + encoded(pixels(), "JPEG")[2:]
    assert decode(data).size == (24, 40)


# What is refused


@pytest.mark.parametrize(
    "data",
    [
        b"hello, I am text",
        b"%PDF-1.7\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"\0" * 1000,
        b"\xff\xd8",
        encoded(pixels(), "BMP"),
        encoded(pixels(), "TIFF"),
        encoded(pixels(), "PPM"),
        encoded(Image.fromarray(pixels()), "ICO"),
    ],
)
def test_other_formats_are_refused_and_the_accepted_ones_named(data: bytes) -> None:
    error = refusal(data)
    assert error.code == "image_format"
    assert error.message.endswith("JPEG, PNG, WEBP, GIF.")


def test_no_bytes_are_an_empty_image() -> None:
    assert refusal(b"").code == "image_empty"


@pytest.mark.parametrize("name", HUGE)
def test_a_huge_image_is_refused_from_its_header(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*args: object, **options: object) -> None:
        raise AssertionError("handed to the decoder")

    monkeypatch.setattr("m3_backbone.images.Image.open", opened)
    error = refusal(HUGE[name])
    assert error.code == "image_too_large"
    assert "Scale it down." in error.message


def test_limits_are_inclusive() -> None:
    data = encoded(pixels(40, 24), "PNG")
    exact = ImageLimits(max_bytes=len(data), max_pixels=40 * 24, max_side=40)
    assert decode(data, exact).size == (40, 24)
    assert refusal(data, ImageLimits(max_bytes=len(data) - 1)).code == "image_too_large"
    assert refusal(data, ImageLimits(max_pixels=40 * 24 - 1)).code == "image_too_large"
    assert refusal(data, ImageLimits(max_side=39)).code == "image_too_large"


@pytest.mark.parametrize("name", ["max_bytes", "max_pixels", "max_side"])
def test_limits_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        ImageLimits(**{name: 0})


def test_a_pixel_limit_above_what_pillow_takes_without_a_warning_is_refused() -> None:
    with pytest.raises(ValueError, match="max_pixels must be at most 89478485"):
        ImageLimits(max_pixels=100_000_000)


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["PNG", "WEBP"]),
)
@settings(max_examples=60, deadline=None)
def test_lossless_files_give_back_every_pixel(width: int, height: int, seed: int, format: str) -> None:
    original = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    options = {"lossless": True} if format == "WEBP" else {}
    assert np.array_equal(np.asarray(decode(encoded(original, format, **options))), original)


def test_a_file_may_carry_more_after_its_end(tmp_path: Path) -> None:
    for data in SEEDS:
        path = tmp_path / "file"
        path.write_bytes(data + b"trailing" * 10)
        assert decode(path.read_bytes()).size == (40, 24)
