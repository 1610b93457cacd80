"""Files that end early, lie or never end."""

from __future__ import annotations

import re
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from m3_backbone.images import decode
from tests.image_files import (
    ENCODERS,
    HUGE,
    encoded,
    exif,
    jpeg_segment,
    pixels,
    png,
    png_chunk,
    png_header,
    refusal,
    webp_header,
)


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
    whole = encoded(pixels(), "GIF", comment=b"c")
    at = whole.index(b"!\xfe\x01c\0")
    assert refusal(whole[: at + 2] + b"\x01c" * 100_001 + whole[at + 4 :]).code == "image_corrupt"


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
