"""What happens to the pixels of a finished picture: harmless perturbations, and artefacts."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Mapping

from PIL import Image


def harmless(image: Image.Image, rng: random.Random, *before: random.Random) -> Image.Image:
    """Moved by one pixel, its edge repeated, and stored as a JPEG of good quality: nobody would notice.

    before: what earlier replicates of the picture were drawn with; no two are perturbed alike.
    """
    drawn: list[tuple[int, int, int]] = []
    for each in (*before, rng):
        one = _perturbation(each)
        while one in drawn:
            one = _perturbation(each)
        drawn.append(one)
    dx, dy, quality = drawn[-1]
    moved = image.copy()
    moved.paste(image, (dx, dy))  # what is not covered keeps the pixels that were at the edge
    return _jpeg(moved, quality)


def _perturbation(rng: random.Random) -> tuple[int, int, int]:
    dx, dy = rng.choice([(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y])
    return dx, dy, rng.randint(88, 95)


def artefacts(image: Image.Image, rng: random.Random) -> Image.Image:
    """Made smaller and larger again, then stored as a JPEG of poor quality, now and then twice."""
    share = rng.uniform(0.6, 0.95)
    filters = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.BOX)
    small = image.resize((round(image.width * share), round(image.height * share)), rng.choice(filters))
    image = _jpeg(small, rng.randint(20, 60)).resize(image.size, rng.choice(filters))
    return _jpeg(image, rng.randint(15, 50))


FINISHES: Mapping[str, Callable[..., Image.Image]] = {
    "harmless": harmless,
    "artefacts": artefacts,
}


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=quality)
    with Image.open(stored, formats=["JPEG"]) as opened:
        return opened.convert("RGB")
