"""Image files before they are decoded: format, size and orientation from the header, metadata left out.

Pillow is only handed what this module lets through. Profiles, comments, previews, EXIF blocks and text
chunks are dropped (the reference ignores them all), so a bomb or a lie in them is never unpacked, and the
warnings that Pillow issues about them have no cause. What is kept decodes to the same pixels.

Not covered: orientation given in XMP, sizes given late in a JPEG (DNL), formats other than the four.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SizeCheck = Callable[[tuple[int, int]], None]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")

_MAX_PARTS = 100_000  # segments, chunks or blocks of one file: bounds the time spent in the loops below
_MAX_SCANS = 100  # of a progressive JPEG; encoders write about ten, each costs a pass over the picture
_MAX_EXIF_TAGS = 512
_ORIENTATION_TAG = 0x0112

_JPEG_SIZES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})  # SOF markers; the others are tables
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length: TEM, RST, SOI
_JPEG_SCAN, _JPEG_END, _JPEG_EXIF, _JPEG_ADOBE = 0xDA, 0xD9, 0xE1, 0xEE
_JPEG_DROPPED = frozenset({*range(0xE1, 0xF0), 0xFE} - {_JPEG_ADOBE})  # APP1-15 and comments, not Adobe's
_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"IDAT"})  # no tRNS: transparency is dropped by convert("RGB")


class ImageError(ValueError):
    """An image that is not accepted. ``code`` is stable; the message is fit to be shown to a user.

    Codes: ``image_empty``, ``image_format`` (not one of `FORMATS`), ``image_too_large`` (bytes, pixels,
    side or scans), ``image_truncated`` (the file ends early), ``image_corrupt``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Container:
    """An image file that is ready to be decoded.

    size: (width, height) in pixels as stored, before ``orientation`` is applied.
    orientation: 1 to 8 as EXIF numbers them; 1 when absent or nonsense.
    data: the file without its metadata.
    """

    format: str
    size: tuple[int, int]
    orientation: int
    data: bytes


def inspect(data: bytes, check_size: SizeCheck) -> Container:
    """The container in ``data``; no pixel is decoded. Raises `ImageError`.

    check_size: is given (width, height) as soon as it is known, and raises when it is not accepted.
    """
    if not data:
        raise ImageError("image_empty", "The image is empty: 0 bytes.")
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data, check_size)
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(data, check_size)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data, check_size)
        if data[:6] in (b"GIF87a", b"GIF89a"):
            return _gif(data, check_size)
    except (struct.error, IndexError) as error:  # a read past the end of the file
        raise _truncated(data) from error
    raise ImageError("image_format", f"Not an image in one of the accepted formats: {', '.join(FORMATS)}.")


def _truncated(data: bytes) -> ImageError:
    return ImageError("image_truncated", f"The image file is incomplete: it ends after {len(data)} bytes.")


def _corrupt(what: str) -> ImageError:
    return ImageError("image_corrupt", f"The image file is damaged: {what}.")


def _jpeg(data: bytes, check_size: SizeCheck) -> Container:
    kept, exif = [b"\xff\xd8"], b""
    size: tuple[int, int] | None = None
    pos = 2
    for _ in range(_MAX_PARTS):
        pos = data.find(b"\xff", pos)  # junk between segments is skipped, as decoders do
        if pos < 0:
            raise _truncated(data)
        marker = data[pos + 1]
        if marker == 0xFF:  # padding
            pos += 1
            continue
        if marker == 0 or marker in _JPEG_BARE:
            pos += 2
            continue
        if marker == _JPEG_END:
            raise _corrupt("a JPEG without picture data")
        if marker == _JPEG_SCAN:
            if data.count(b"\xff\xda", pos) > _MAX_SCANS:
                raise ImageError("image_too_large", f"The JPEG has more than {_MAX_SCANS} scans.")
            if not size:
                raise _corrupt("a JPEG that does not give its size")
            return Container("JPEG", size, _orientation(exif), b"".join((*kept, data[pos:])))
        (length,) = struct.unpack_from(">H", data, pos + 2)
        if length < 2:
            raise _corrupt("a JPEG segment of impossible length")
        end = pos + 2 + length
        if end > len(data):
            raise _truncated(data)
        if marker in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", data, pos + 5)
            size = (width, height)
            check_size(size)
        if marker == _JPEG_EXIF and not exif and data[pos + 4 : pos + 10] == b"Exif\0\0":
            exif = data[pos + 10 : end]
        if marker not in _JPEG_DROPPED:
            kept.append(data[pos:end])
        pos = end
    raise _corrupt(f"more than {_MAX_PARTS} segments")


def _png(data: bytes, check_size: SizeCheck) -> Container:
    if data[12:16] != b"IHDR":
        raise _truncated(data) if len(data) < 16 else _corrupt("a PNG that does not begin with its header")
    width, height = struct.unpack_from(">II", data, 16)
    check_size((width, height))
    kept, exif = [data[:8]], b""
    for name, start, end in _chunks(data, 8, ">I4s", 4):
        if name == b"IEND":
            break
        if name == b"eXIf":
            exif = data[start + 8 : end - 4]
        if name in _PNG_KEPT:
            kept.append(data[start:end])
    # Without IEND the picture data may still be whole: the decoder finds out.
    kept.append(b"\0\0\0\0IEND\xae\x42\x60\x82")
    return Container("PNG", (width, height), _orientation(exif), b"".join(kept))


def _webp(data: bytes, check_size: SizeCheck) -> Container:
    (length,) = struct.unpack_from("<I", data, 4)
    if length + 8 > len(data):
        raise _truncated(data)
    kind = data[12:16]
    if kind == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", data, 24)
        size = (1 + low_w + (high_w << 16), 1 + low_h + (high_h << 16))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        size = (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    elif kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        size = (width & 0x3FFF, height & 0x3FFF)
    else:
        raise _corrupt("a WEBP without picture data")
    check_size(size)
    exif = b""
    kept = []
    for name, start, end in _chunks(data[: length + 8], 12, "<4sI", 0):
        if name == b"EXIF":
            exif = data[start + 8 : end].removeprefix(b"Exif\0\0")
        elif name not in (b"ICCP", b"XMP "):
            kept.append(data[start:end])
    body = b"".join(kept)
    if kind == b"VP8X":  # flags of what was dropped: ICC profile, EXIF, XMP
        body = body[:8] + bytes([body[8] & ~0b0010_1100]) + body[9:]
    return Container(
        "WEBP", size, _orientation(exif), struct.pack("<4sI4s", b"RIFF", len(body) + 4, b"WEBP") + body
    )


def _chunks(data: bytes, pos: int, header: str, check_bytes: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end) of the chunks from ``pos`` on: of a PNG or, padded to even lengths, a RIFF file."""
    for _ in range(_MAX_PARTS):
        if pos >= len(data):
            return
        first, second = struct.unpack_from(header, data, pos)
        name, length = (first, second) if isinstance(first, bytes) else (second, first)
        end = pos + 8 + length + check_bytes
        if end > len(data):
            raise _truncated(data)
        if not check_bytes:
            end += length & 1  # the last chunk may lack its padding
        yield name, pos, end
        pos = end
    raise _corrupt(f"more than {_MAX_PARTS} chunks")


def _gif(data: bytes, check_size: SizeCheck) -> Container:
    """The size is that of the screen, or larger where the first frame reaches beyond it."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    pos = 13 + (6 << (flags & 7) if flags & 0x80 else 0)
    parts = 0
    while parts < _MAX_PARTS:
        parts += 1
        block = data[pos]
        if block == 0x2C:  # image descriptor
            left, top, frame_width, frame_height = struct.unpack_from("<HHHH", data, pos + 1)
            size = (max(width, left + frame_width), max(height, top + frame_height))
            check_size(size)
            return Container("GIF", size, 1, data)
        if block == 0x3B:
            raise _corrupt("a GIF without a frame")
        pos += 1
        if block == 0x21:  # an extension: label, then sub-blocks up to an empty one
            pos += 1
            while data[pos] and parts < _MAX_PARTS:
                parts += 1
                pos += 1 + data[pos]
            pos += 1
    raise _corrupt(f"more than {_MAX_PARTS} blocks")


def _orientation(exif: bytes) -> int:
    """Tag 0x0112 of the first directory of a TIFF block; 1 when there is none to be read."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (offset,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, offset)
        for i in range(min(count, _MAX_EXIF_TAGS)):
            tag, kind, n, value = struct.unpack_from(order + "HHIH", exif, offset + 2 + 12 * i)
            if tag == _ORIENTATION_TAG:
                return int(value) if kind == 3 and n == 1 and 1 <= value <= 8 else 1
    except struct.error:  # a directory that points outside the block
        return 1
    return 1
