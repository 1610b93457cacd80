"""Image files made by hand: whole ones, and parts of them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from m3_backbone.images import ImageError, ImageLimits, decode

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

SEEDS = [encode(pixels()) for encode in ENCODERS.values()]


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
