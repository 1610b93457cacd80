"""Images are decoded upright, within limits, or refused with a stable code; Pillow never warns or crashes."""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from m3_backbone.images import ImageError, ImageLimits, content_hash, decode

Pixels = NDArray[np.uint8]


def pixels(width: int = 40, height: int = 24, seed: int = 0) -> Pixels:
    """Smooth random colours, so that lossy formats stay close."""
    small = np.random.default_rng(seed).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def encoded(image: Image.Image | Pixels, format: str, **options: Any) -> bytes:
    file = BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(file, format=format, **options)
    return file.getvalue()


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def png_header(width: int, height: int, depth: int = 8, colour: int = 2) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)


def jpeg_segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    value = struct.pack(order + "HH", orientation, 0) if kind == 3 else struct.pack(order + "I", orientation)
    entry = struct.pack(order + "HHI", 0x0112, kind, 1) + value
    return mark + struct.pack(order + "IH", 8, 1) + entry + struct.pack(order + "I", 0)


def refusal(data: bytes, limits: ImageLimits | None = None) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(data, limits or ImageLimits())
    return caught.value


ENCODERS: dict[str, Callable[[Pixels], bytes]] = {
    "JPEG": lambda p: encoded(p, "JPEG", quality=95),
    "PNG": lambda p: encoded(p, "PNG"),
    "WEBP": lambda p: encoded(p, "WEBP", quality=95),
    "WEBP-lossless": lambda p: encoded(p, "WEBP", lossless=True),
    "GIF": lambda p: encoded(p, "GIF"),
}


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


def webp_header(width: int, height: int) -> bytes:
    body = b"VP8X" + struct.pack("<IBBH", 10, 0, 0, 0)
    body += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


HUGE = {
    "PNG": png(png_header(60_000, 60_000)),
    "PNG without more": png(png_header(60_000, 60_000))[:29],
    "PNG of 1 x 20000": png(png_header(1, 20_000)),
    "PNG of 2^31": png(png_header(2**31 - 1, 2**31 - 1)),
    "JPEG": b"\xff\xd8" + jpeg_segment(0xC0, struct.pack(">BHHB", 8, 60_000, 60_000, 3) + bytes(9)),
    "WEBP": webp_header(16_000, 16_000),
    "WEBP lossless": b"RIFF"
    + struct.pack("<I", 18)
    + b"WEBPVP8L"
    + struct.pack("<IBI", 5, 0x2F, 2**28 - 1)
    + b"\0",
    "GIF": b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + b"," + bytes(9),
    "GIF whose frame leaves its screen": b"GIF89a"
    + struct.pack("<HHBBB", 1, 1, 0, 0, 0)
    + b","
    + struct.pack("<HHHHB", 60_000, 60_000, 9, 9, 0),
}


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


@pytest.mark.parametrize("format", ENCODERS)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_file_that_ends_early_is_refused(format: str, share: float) -> None:
    data = ENCODERS[format](np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    assert refusal(data[: int(len(data) * share)]).code == "image_truncated"


def test_a_png_without_its_end_chunk_is_whole() -> None:
    data = encoded(pixels(), "PNG")
    assert np.array_equal(np.asarray(decode(data[:-12])), pixels())


def test_a_png_whose_picture_data_end_early_is_truncated() -> None:
    rows = zlib.compress(b"\0" * 10)
    data = png(png_header(64, 64), (b"IDAT", rows[:5]), (b"IEND", b""))
    assert refusal(data).code in {"image_truncated", "image_corrupt"}


DAMAGED = {
    "PNG of no size": png(png_header(0, 5)),
    "PNG with a wrong checksum": encoded(pixels(), "PNG")[:29] + b"\0\0\0\0" + encoded(pixels(), "PNG")[33:],
    "PNG without its header": b"\x89PNG\r\n\x1a\n" + png_chunk(b"IDAT", b"abc"),
    "PNG of nonsense": png(png_header(8, 8), (b"IDAT", b"nonsense"), (b"IEND", b"")),
    "JPEG that ends at once": b"\xff\xd8\xff\xd9",
    "JPEG without a size": b"\xff\xd8" + jpeg_segment(0xDA, bytes(6)) + b"\xff\xd9",
    "JPEG with a segment of length 0": b"\xff\xd8\xff\xc0\0\0" + bytes(20),
    "JPEG of no height": b"\xff\xd8" + jpeg_segment(0xC0, struct.pack(">BHHB", 8, 0, 9, 1) + bytes(3)),
    "WEBP of an unknown kind": b"RIFF" + struct.pack("<I", 12) + b"WEBPVP9 " + bytes(4),
    "WEBP whose frame is missing": webp_header(8, 8),
    "GIF without a frame": b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0, 0, 0) + b";",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused(name: str) -> None:
    assert refusal(DAMAGED[name]).code == "image_corrupt"


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = encoded(pixels(), "JPEG", progressive=True)
    scan = data.rindex(b"\xff\xda")
    assert refusal(data[:-2] + data[scan:-2] * 200 + b"\xff\xd9").code == "image_too_large"


def test_a_jpeg_of_endless_segments_is_refused() -> None:
    assert refusal(b"\xff\xd8" + jpeg_segment(0xFE, b"") * 100_001).code == "image_corrupt"


def test_padding_and_junk_between_the_segments_of_a_jpeg_are_skipped() -> None:
    whole = encoded(pixels(), "JPEG")
    extra = b"junk\xff\x00" + b"\xff\xd0" + b"\xff" * 9  # after the JFIF segment
    assert np.array_equal(np.asarray(decode(whole[:20] + extra + whole[21:])), np.asarray(decode(whole)))


def test_a_png_of_endless_chunks_is_refused() -> None:
    whole = encoded(pixels(), "PNG")
    assert refusal(whole[:33] + png_chunk(b"teXt", b"") * 100_001 + whole[33:]).code == "image_corrupt"


def test_a_gif_of_endless_blocks_is_refused() -> None:
    header = b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0, 0, 0)
    assert refusal(header + b"!\xfe\0" * 100_001).code == "image_corrupt"


def test_a_gif_with_comments_before_its_frame_is_decoded() -> None:
    assert decode(encoded(pixels(), "GIF", comment=b"private" * 100)).size == (40, 24)


def test_a_header_that_contradicts_the_picture_is_refused() -> None:
    whole = encoded(Image.fromarray(pixels()).convert("RGBA"), "WEBP", exif=b"Exif\0\0" + exif(1))
    assert whole[12:16] == b"VP8X"
    assert refusal(whole[:24] + bytes([99]) + whole[25:]).code == "image_corrupt"


def test_sizes_that_pillow_reads_otherwise_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Image.new("RGB", (9, 9))
    monkeypatch.setattr("m3_backbone.images.Image.open", lambda *_, **__: other)
    assert refusal(encoded(pixels(), "PNG")).code == "image_corrupt"


def test_an_image_that_does_not_fit_in_memory_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr("m3_backbone.images.Image.open", full)
    assert refusal(encoded(pixels(), "PNG")).code == "image_too_large"


def test_errors_name_no_path_and_no_address() -> None:
    for data in (*DAMAGED.values(), *HUGE.values(), b"", b"text"):
        message = refusal(data).message
        assert not re.search("0x[0-9a-f]{6}", message)
        assert "/" not in message
        assert message.endswith(".")


# Bombs in what is not the picture


def test_text_and_profile_bombs_in_a_png_are_not_unpacked() -> None:
    bomb = zlib.compress(b"\0" * 50_000_000, 9)
    whole = encoded(pixels(), "PNG")
    extra = png_chunk(b"zTXt", b"a\0\0" + bomb) * 20 + png_chunk(b"iCCP", b"a\0\0" + bomb)
    assert np.array_equal(np.asarray(decode(whole[:33] + extra + whole[33:])), pixels())


def test_broken_animation_exif_and_profile_chunks_give_no_warning() -> None:
    whole = encoded(pixels(), "PNG")
    extra = png_chunk(b"acTL", b"") + png_chunk(b"eXIf", b"II*\0\xff\xff") + png_chunk(b"iCCP", b"junk")
    extra += png_chunk(b"tRNS", b"\0") + png_chunk(b"pHYs", b"")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(np.asarray(decode(whole[:33] + extra + whole[33:])), pixels())


def test_corrupt_exif_and_previews_in_a_jpeg_give_no_warning() -> None:
    whole = encoded(pixels(), "JPEG", quality=95)
    extra = jpeg_segment(0xE1, b"Exif\0\0II*\0" + b"\xff" * 200) + jpeg_segment(0xE2, b"MPF\0" + b"\xff" * 50)
    extra += jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1junk") + jpeg_segment(
        0xED, b"Photoshop 3.0\0" + b"\xff" * 30
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(np.asarray(decode(b"\xff\xd8" + extra + whole[2:])), np.asarray(decode(whole)))


def test_pillow_keeps_its_global_settings() -> None:
    before = (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    decode(encoded(pixels(), "PNG"))
    refusal(HUGE["PNG"])
    assert before == (Image.MAX_IMAGE_PIXELS, list(warnings.filters))


# Content hash


def test_the_content_hash_is_that_of_the_pixels_whatever_the_file() -> None:
    hashes = {
        content_hash(decode(data))
        for data in (
            encoded(pixels(), "PNG"),
            encoded(pixels(), "PNG", compress_level=0),
            encoded(pixels(), "WEBP", lossless=True),
        )
    }
    assert len(hashes) == 1
    assert all(len(digest) == 64 for digest in hashes)


def test_the_content_hash_tells_sizes_and_pixels_apart() -> None:
    tall, wide = Image.new("RGB", (4, 9)), Image.new("RGB", (9, 4))
    assert content_hash(tall) != content_hash(wide)
    other = wide.copy()
    other.putpixel((0, 0), (0, 0, 1))
    assert content_hash(other) != content_hash(wide)


def test_the_content_hash_never_changes() -> None:
    # Splits are made of it: another value would move images from one split to another.
    assert content_hash(Image.new("RGB", (2, 1), (1, 2, 3))) == (
        "b57055ffd565a75597c53e8126feb2ee6cc864bf5df5abe3625a9671a768df0c"
    )


def test_the_content_hash_is_defined_for_rgb_only() -> None:
    with pytest.raises(ValueError, match="got mode 'L'; convert it first"):
        content_hash(Image.new("L", (1, 1)))


# Anything at all


SEEDS = [encode(pixels()) for encode in ENCODERS.values()]


def accepted_or_refused(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            image = decode(data, ImageLimits(max_pixels=1_000_000, max_side=2000))
        except ImageError:
            return
    assert image.mode == "RGB"
    assert image.width * image.height <= 1_000_000


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_an_image_or_an_image_error(data: bytes) -> None:
    accepted_or_refused(data)


@given(
    st.sampled_from(range(len(SEEDS))),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=12),
    st.floats(0, 1),
)
@example(0, [(0.0, 255)], 1.0)
@settings(max_examples=300, deadline=None)
def test_any_damage_to_a_file_is_an_image_or_an_image_error(
    seed: int, changes: list[tuple[float, int]], share: float
) -> None:
    data = bytearray(SEEDS[seed])
    for place, value in changes:
        data[int(place * len(data))] = value
    accepted_or_refused(bytes(data[: int(share * len(data))] if share > 0.2 else data))


@given(st.sampled_from(range(len(SEEDS))), st.integers(0, 200), st.binary(min_size=1, max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_insertion_near_the_header_is_an_image_or_an_image_error(
    seed: int, place: int, extra: bytes
) -> None:
    data = SEEDS[seed]
    accepted_or_refused(data[:place] + extra + data[place:])


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
