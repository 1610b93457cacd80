"""Bytes -> upright RGB pixels within limits. The one place where images are decoded: service, command
line and labelling alike.

JPEG, PNG, WEBP and GIF. Sizes are checked in the header before anything is decoded; EXIF orientation is
applied; of an animation the first frame is taken. As in the reference (`Image.convert("RGB")`, LLaVA's
`process_images`) alpha is **dropped, not composited**: a transparent pixel shows the colour stored under
it, and colour profiles are ignored. 16-bit grey keeps its upper byte.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from io import BytesIO

import numpy as np
from PIL import Image

from m3_backbone.containers import FORMATS, Container, ImageError, inspect

__all__ = ["FORMATS", "ImageError", "ImageLimits", "content_hash", "decode"]

_PILLOW_PIXELS = 89_478_485  # Pillow warns above its default MAX_IMAGE_PIXELS

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What is accepted. ``max_side`` matters by itself: padding to a square costs side x side pixels."""

    max_bytes: int = 20 * 2**20
    max_pixels: int = 50_000_000
    max_side: int = 10_000

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_pixels", "max_side"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.max_pixels > _PILLOW_PIXELS:
            raise ValueError(f"max_pixels must be at most {_PILLOW_PIXELS}, got {self.max_pixels}.")


DEFAULT_LIMITS = ImageLimits()


def decode(data: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> Image.Image:
    """The upright RGB image in ``data``; raises `ImageError` with a stable code.

    The result holds pixels alone: no metadata, no reference to ``data``.
    """
    if len(data) > limits.max_bytes:
        raise ImageError(
            "image_too_large", f"The image has {len(data)} bytes; at most {limits.max_bytes} are accepted."
        )
    container = inspect(data, partial(_check_size, limits))
    image = _decode(container)
    if container.orientation != 1:
        image = image.transpose(_UPRIGHT[container.orientation])
    return image


def content_hash(image: Image.Image) -> str:
    """SHA-256 (hex) of the size and the RGB pixels: equal for equal pictures, whatever file they came in.

    Raises ValueError for an image that is not RGB (`decode` gives RGB).
    """
    if image.mode != "RGB":
        raise ValueError(
            f"The content hash is defined for RGB images, got mode {image.mode!r}; convert it first."
        )
    digest = hashlib.sha256(f"{image.width}x{image.height}\n".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def _check_size(limits: ImageLimits, size: tuple[int, int]) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError("image_corrupt", f"The image file is damaged: its size is {width}x{height}.")
    if width * height > limits.max_pixels:
        bound = f"{limits.max_pixels} in all"
    elif max(size) > limits.max_side:
        bound = f"{limits.max_side} a side"
    else:
        return
    raise ImageError(
        "image_too_large",
        f"The image is {width}x{height} pixels; at most {bound} are accepted. Scale it down.",
    )


def _decode(container: Container) -> Image.Image:
    """RGB pixels as stored. Whatever Pillow's readers raise is the file's fault."""
    try:
        with Image.open(BytesIO(container.data), formats=(container.format,)) as file:
            if file.size != container.size:
                raise ImageError(
                    "image_corrupt", "The image file is damaged: its sizes contradict each other."
                )
            file.load()
            rgb = _to_rgb(file)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError("image_too_large", "The image does not fit in memory. Scale it down.") from error
    except Exception as error:
        if "truncated" in str(error):
            raise ImageError(
                "image_truncated", "The image file is incomplete: its picture data ends early."
            ) from error
        raise ImageError(
            "image_corrupt", f"The image file is damaged: its {container.format} data cannot be decoded."
        ) from error
    rgb.info.clear()
    return rgb


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey: Pillow would clip at 255 instead of scaling
        grey = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    return image.convert("RGB")
