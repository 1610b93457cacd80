"""What a photograph adds to a drawing: light, texture, grain, blur and a slanted view."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from data.scalebench.labels import Box
from data.scalebench.style import RGB


def gradient(image: Image.Image, rng: random.Random, strength: float) -> None:
    """Darkens ``image`` in place towards one corner or side, by up to ``strength`` of its brightness."""
    corners = [255 - round(255 * strength * rng.random()) for _ in range(4)]
    small = Image.new("L", (2, 2))
    small.putdata(corners)
    light = small.resize(image.size, Image.Resampling.BILINEAR, box=(0.5, 0.5, 1.5, 1.5))
    image.paste(ImageChops.multiply(image, Image.merge("RGB", (light,) * 3)))


def mottle(image: Image.Image, rng: random.Random, strength: float) -> None:
    """Blotches of two sizes on ``image``, in place: up to ``strength`` x 100 grey levels up and down."""
    numbers = np.random.default_rng(rng.getrandbits(32))
    blotches = np.zeros((image.height, image.width), np.float32)
    for cells, share in ((rng.randint(6, 14), 0.6), (rng.randint(30, 80), 0.4)):
        coarse = numbers.random((cells, cells), np.float32) * 255
        spread = Image.fromarray(coarse.astype(np.uint8)).resize(image.size, Image.Resampling.BILINEAR)
        blotches += share * (np.asarray(spread, np.float32) - 127.5)
    _add(image, blotches * (strength * 100 / 127.5))


def grainy(image: Image.Image, deviation: float, seed: int) -> Image.Image:
    """``image`` with normal noise of ``deviation`` grey levels, the same in the three channels."""
    numbers = np.random.default_rng(seed)
    noise = numbers.standard_normal((image.height, image.width), np.float32) * deviation
    copy = image.copy()
    _add(copy, noise)
    return copy


def blurred(image: Image.Image, radius: float) -> Image.Image:
    """``image`` under a box blur, close to a lens out of focus; radius in pixels."""
    return image.filter(ImageFilter.BoxBlur(radius))


def _add(image: Image.Image, levels: NDArray[np.float32]) -> None:
    offsets = levels.astype(np.int16)[..., None]
    pixels = np.clip(np.asarray(image).astype(np.int16) + offsets, 0, 255)
    image.paste(Image.fromarray(pixels.astype(np.uint8)))


Matrix = tuple[float, float, float, float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Tilt:
    """A plane seen from an angle: ``forward`` maps drawn coordinates to seen ones (a homography, by rows).

    Plain arithmetic, no linear algebra library: the same pixels on every machine.
    """

    forward: Matrix

    @classmethod
    def draw(cls, rng: random.Random, width: float, height: float, strength: float) -> Tilt:
        """Corners move inwards by up to ``strength`` of the sides."""
        drawn = ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height))
        inwards = ((1, 1), (-1, 1), (-1, -1), (1, -1))
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = (
            (x + dx * rng.uniform(0, strength) * width, y + dy * rng.uniform(0, strength) * height)
            for (x, y), (dx, dy) in zip(drawn, inwards, strict=True)
        )
        # The unit square to a quadrilateral: Heckbert, Fundamentals of Texture Mapping (1989), section 2.2.3.
        sx, sy = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
        dx1, dy1, dx2, dy2 = x1 - x2, y1 - y2, x3 - x2, y3 - y2
        scale = dx1 * dy2 - dx2 * dy1
        g, h = (sx * dy2 - dx2 * sy) / scale, (dx1 * sy - sx * dy1) / scale
        rows = (x1 - x0 + g * x1, x3 - x0 + h * x3, x0, y1 - y0 + g * y1, y3 - y0 + h * y3, y0, g, h, 1.0)
        a, b, c, d, e, f, g, h, i = rows
        return cls((a / width, b / height, c, d / width, e / height, f, g / width, h / height, i))

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Where the drawn point (x, y) is seen."""
        a, b, c, d, e, f, g, h, i = self.forward
        w = g * x + h * y + i
        return (a * x + b * y + c) / w, (d * x + e * y + f) / w

    def box(self, box: Box) -> Box:
        """The upright box around a drawn box as it is seen."""
        x0, y0, x1, y1 = box
        seen = [self.point(x, y) for x in (x0, x1) for y in (y0, y1)]
        across, down = [x for x, _ in seen], [y for _, y in seen]
        return min(across), min(down), max(across), max(down)

    def seen(self, image: Image.Image, unit: float, surroundings: RGB) -> Image.Image:
        """``image`` as it is seen; ``unit``: its pixels per unit of the coordinates."""
        a, b, c, d, e, f, g, h, i = self.forward
        c, f, g, h = c * unit, f * unit, g / unit, h / unit  # the same map, in pixels
        back = (
            e * i - f * h, c * h - b * i, b * f - c * e,
            f * g - d * i, a * i - c * g, c * d - a * f,
            d * h - e * g, b * g - a * h, a * e - b * d,
        )  # fmt: skip
        return image.transform(
            image.size,
            Image.Transform.PERSPECTIVE,
            [value / back[8] for value in back[:8]],
            Image.Resampling.BILINEAR,
            fillcolor=surroundings,
        )
