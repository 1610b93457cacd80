"""Image files that must be refused, and odd ones that must be answered; bombs among both."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image

from tests.image_files import ENCODERS, HUGE, encoded, exif, jpeg_segment, pixels, png, png_chunk, png_header
from tests.test_m3_backbone_images_damaged import DAMAGED

_NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
_PNG = encoded(pixels(), "PNG")
_JPEG = encoded(pixels(), "JPEG")
_ZEROS = zlib.compress(bytes(50_000_000), 9)


def _picture(mode: str, format: str, **options: object) -> bytes:
    return encoded(Image.fromarray(pixels()).convert(mode), format, **options)


def _flat(side: int) -> bytes:
    """A small PNG of side x side pixels of one colour, which are all there."""
    rows = zlib.compress(bytes((-(-side // 8) + 1) * side), 9)
    return png(png_header(side, side, depth=1, colour=0), (b"IDAT", rows), (b"IEND", b""))


BOMBS = {
    "a small file of 400 megapixels": png(
        png_header(20_000, 20_000, depth=1, colour=0), (b"IDAT", _ZEROS), (b"IEND", b"")
    ),
    "a PNG whose picture unpacks to more than it declares": png(
        png_header(64, 64), (b"IDAT", _ZEROS), (b"IEND", b"")
    ),
    "zTXt bombs": _PNG[:33] + png_chunk(b"zTXt", b"a\0\0" + _ZEROS) * 20 + _PNG[33:],
    "iTXt bombs": _PNG[:33] + png_chunk(b"iTXt", b"a\0\1\0\0\0" + _ZEROS) * 20 + _PNG[33:],
    "a profile bomb": _PNG[:33] + png_chunk(b"iCCP", b"a\0\0" + _ZEROS) + _PNG[33:],
    "100,000 chunks": _PNG[:33] + png_chunk(b"teXt", b"") * 100_001 + _PNG[33:],
    "a GIF of endless blocks": b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0, 0, 0) + b"!\xfe\0" * 100_001,
    **{f"huge: {name}": data for name, data in HUGE.items()},
}
"""Small files that would be large; refused or answered, but never unpacked."""

REFUSED = {
    **{f"damaged: {name}": data for name, data in DAMAGED.items()},
    **{f"cut off: {name}": make(_NOISE)[:900] for name, make in ENCODERS.items() if name != "GIF"},
    **{f"huge: {name}": data for name, data in HUGE.items()},
    "a small file of 400 megapixels": BOMBS["a small file of 400 megapixels"],
    "100,000 chunks": BOMBS["100,000 chunks"],
    "a GIF of endless blocks": BOMBS["a GIF of endless blocks"],
    "one byte": b"\x89",
    "a signature alone": b"\x89PNG\r\n\x1a\n",
    "BMP": _picture("RGB", "BMP"),
    "TIFF": _picture("RGB", "TIFF"),
    "ICO": _picture("RGB", "ICO"),
    "PPM": _picture("RGB", "PPM"),
    "a PNG's signature on a JPEG": b"\x89PNG\r\n\x1a\n" + _JPEG,
    "HTML": b"<!DOCTYPE html><img src=x onerror=alert(1)>",
    "a ZIP": b"PK\x03\x04" + bytes(100),
    "a pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    "PostScript": b"%!PS\n(/etc/passwd) run",
    "an ImageMagick script": b"push graphic-context\nviewbox 0 0 640 480\nimage over 0,0 0,0 'x'\n",
}

ANSWERED = {
    "1 x 1": encoded(pixels(1, 1), "PNG"),
    "1 x 10000": encoded(np.zeros((10_000, 1, 3), np.uint8), "PNG"),
    "10000 x 1": encoded(np.zeros((1, 10_000, 3), np.uint8), "PNG"),
    "2500 x 2500 in a kilobyte": _flat(2500),
    "CMYK": _picture("CMYK", "JPEG"),
    "grey with alpha": _picture("LA", "PNG"),
    "one bit": _picture("1", "PNG"),
    "16 bits": encoded(Image.fromarray(pixels()[..., 0].astype(np.uint16) << 8), "PNG"),
    "a palette with alpha": encoded(
        Image.fromarray(pixels()).convert("P"), "PNG", transparency=bytes(range(256))
    ),
    "a progressive JPEG": _picture("RGB", "JPEG", progressive=True),
    "a PNG called a JPEG": _PNG,
    "an interlaced GIF": _picture("RGB", "GIF", interlace=1),
    **{
        f"an animated {format}": encoded(
            Image.fromarray(pixels()),
            format,
            save_all=True,
            append_images=[Image.fromarray(pixels(seed=n)) for n in range(1, 30)],
        )
        for format in ("GIF", "WEBP", "PNG")
    },
    **{f"orientation {n}": _picture("RGB", "JPEG", exif=b"Exif\0\0" + exif(n)) for n in (*range(10), 65535)},
    "a corrupt profile": _JPEG[:2] + jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1junk") + _JPEG[2:],
    "corrupt EXIF": _JPEG[:2] + jpeg_segment(0xE1, b"Exif\0\0II*\0" + b"\xff" * 200) + _JPEG[2:],
    "bytes after the end": _JPEG + b"PK\x03\x04" + bytes(1000),
    **{name: BOMBS[name] for name in ("zTXt bombs", "iTXt bombs", "a profile bomb")},
    "a PNG whose picture unpacks to more than it declares": BOMBS[
        "a PNG whose picture unpacks to more than it declares"
    ],
}
