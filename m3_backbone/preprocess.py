"""An RGB image -> the pixel array that the tower sees, bit for bit as the reference makes it. Torch-free.

Follows LLaVA's ``process_images`` with CLIP's image processor of transformers 4.36: Pillow's bicubic resize,
centre crop, ``x * (1 / 255)`` in float64 rounded to float32, then mean and standard deviation in float32.
EXIF orientation is not looked at here (`m3_backbone.images` turns photographs upright); alpha is dropped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from m3_backbone.config import Conditioning, M3Config

_MAX_STRETCH = 64
"""Without padding, an image's long side is resized too: beyond this ratio that would be all memory."""


@dataclass(frozen=True, slots=True)
class Views:
    """What the tower sees of one image.

    pixels: float32 [views, 3, size, size]. tiles: (columns, rows) of the tiles that follow the first view,
    which shows the whole image; None where there is one view alone. size: (width, height) of the image.
    """

    pixels: NDArray[np.float32]
    tiles: tuple[int, int] | None
    size: tuple[int, int]


def preprocess(image: Image.Image, config: M3Config, conditioning: Conditioning) -> Views:
    """Pixels of ``image`` as ``image_aspect_ratio`` says: padded, cut into anyres views, or cropped.

    Raises ValueError for an image without pixels, or too stretched to be cropped.
    """
    width, height = image.size
    if width < 1 or height < 1:
        raise ValueError(f"The image has no pixels: its size is {width}x{height}.")
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    side = conditioning.size
    tiles = None
    if config.aspect == "pad":
        pictures = [resize_and_crop(pad_to_square(rgb, conditioning.mean), side)]
    elif config.aspect == "anyres":
        best = best_resolution(rgb.size, config.pinpoints)
        tiles = (best[0] // side, best[1] // side)
        pictures = [rgb.resize((side, side)), *_cut(_fit(rgb, best), side)]
    else:
        pictures = [resize_and_crop(rgb, side)]
    table = _levels(conditioning.mean, conditioning.std)
    pixels = np.empty((len(pictures), 3, side, side), np.float32)
    for view, picture in zip(pixels, pictures, strict=True):
        array = np.asarray(picture)
        for channel in range(3):
            np.take(table[channel], array[:, :, channel], out=view[channel])
    return Views(pixels, tiles, (width, height))


def best_resolution(size: tuple[int, int], pinpoints: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The pinpoint (width, height) that keeps most of the image's pixels, then wastes least.

    LLaVA's ``select_best_resolution``; ties keep the earlier pinpoint.
    """
    width, height = size
    best, most, least = pinpoints[0], 0, math.inf
    for candidate in pinpoints:
        scale = min(candidate[0] / width, candidate[1] / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        wasted = candidate[0] * candidate[1] - kept
        if kept > most or (kept == most and wasted < least):
            best, most, least = candidate, kept, wasted
    return best


def pad_to_square(image: Image.Image, mean: tuple[float, float, float]) -> Image.Image:
    """Centred on a square of CLIP's mean colour (LLaVA's ``expand2square``).

    image: RGB; a square one is returned as it is. mean: of each channel, 0 to 1.
    """
    width, height = image.size
    if width == height:
        return image
    side = max(width, height)
    square = Image.new("RGB", (side, side), tuple(int(value * 255) for value in mean))
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    return square


def resize_and_crop(image: Image.Image, side: int) -> Image.Image:
    """Shortest edge to ``side``, bicubic, then the centre: side x side.

    Raises ValueError for an image that is too stretched: its long side is resized too.
    """
    width, height = image.size
    short, long = min(width, height), max(width, height)
    if long > _MAX_STRETCH * short:
        raise ValueError(
            f"The image is {width}x{height}: one side is more than {_MAX_STRETCH} times the other. Crop it."
        )
    longer = int(side * long / short)
    target = (side, longer) if width <= height else (longer, side)
    resized = image if target == image.size else image.resize(target, Image.Resampling.BICUBIC)
    left, top = (target[0] - side) // 2, (target[1] - side) // 2
    return resized if longer == side else resized.crop((left, top, left + side, top + side))


def _fit(image: Image.Image, target: tuple[int, int]) -> Image.Image:
    """As large as fits into ``target``, centred on black (LLaVA's ``resize_and_pad_image``)."""
    width, height = image.size
    across, down = target[0] / width, target[1] / height
    if across < down:
        new = (target[0], min(math.ceil(height * across), target[1]))
    else:
        new = (min(math.ceil(width * down), target[0]), target[1])
    canvas = Image.new("RGB", target, (0, 0, 0))
    canvas.paste(image.resize(new), ((target[0] - new[0]) // 2, (target[1] - new[1]) // 2))
    return canvas


def _cut(image: Image.Image, side: int) -> list[Image.Image]:
    """Tiles in row-major order."""
    width, height = image.size
    return [
        image.crop((left, top, left + side, top + side))
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]


@lru_cache(maxsize=8)
def _levels(mean: tuple[float, ...], std: tuple[float, ...]) -> NDArray[np.float32]:
    """[3, 256]: the normalised value of every 8-bit level, with the reference's roundings."""
    scaled = (np.arange(256, dtype=np.uint8) * (1 / 255)).astype(np.float32)
    offset, spread = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    table: NDArray[np.float32] = (scaled - offset[:, None]) / spread[:, None]
    table.setflags(write=False)
    return table
