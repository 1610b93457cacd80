"""What a split draws with: fonts, shades, layouts, wordings and frame sizes, in use or kept back."""

from __future__ import annotations

import random
from dataclasses import dataclass

from data.scalebench.vocabulary import COLOURS

RGB = tuple[int, int, int]

FONTS = (
    "LiberationSans-Regular.ttf",
    "LiberationSans-Bold.ttf",
    "OpenSans-Bold.ttf",
    "LiberationSerif-Regular.ttf",
    "LiberationMono-Bold.ttf",
)
UNSEEN_FONTS = ("Caladea-Bold.ttf", "FredokaOne-Regular.ttf", "Lato-BoldItalic.ttf")
SIZES = ((448, 336), (336, 448), (400, 300), (300, 400), (504, 336), (252, 252))
"""Frames in use, in pixels, beside 336 x 336."""
UNSEEN_SIZES = ((640, 320), (320, 640), (700, 280), (280, 700), (600, 360), (360, 600))
JITTER = 16
"""Shades in use lie at most so far from the middle one, in each channel."""
NEUTRAL = ("black", "white", "grey")
"""Their channels move together, or grey would now and then look brown or purple."""
UNSEEN_SHADES: dict[str, RGB] = {
    "red": (170, 10, 60),
    "blue": (80, 150, 235),
    "green": (120, 195, 60),
    "yellow": (255, 240, 130),
    "orange": (255, 150, 75),
    "purple": (175, 95, 215),
    "brown": (90, 50, 25),
    "black": (50, 50, 62),
    "white": (235, 230, 215),
    "grey": (175, 178, 186),
}
"""Each further than `JITTER` from every shade in use, and still called by its name."""


@dataclass(frozen=True, slots=True)
class Style:
    """How the pictures of a split look and how its questions are put.

    square: share of the pictures that are 336 x 336. unseen_*: draw from what is kept back instead.
    """

    fonts: tuple[str, ...] = FONTS
    sizes: tuple[tuple[int, int], ...] = SIZES
    square: float = 0.75
    unseen_shades: bool = False
    unseen_layout: bool = False
    unseen_wording: bool = False

    def size(self, rng: random.Random) -> tuple[int, int]:
        """Width and height of a picture, in pixels."""
        return (336, 336) if rng.random() < self.square else rng.choice(self.sizes)

    def palette(self, rng: random.Random) -> dict[str, RGB]:
        """Colour name -> the shade that one picture draws it in."""
        middle = UNSEEN_SHADES if self.unseen_shades else COLOURS
        reach = JITTER // 2 if self.unseen_shades else JITTER
        return {name: _near(rng, shade, reach, name in NEUTRAL) for name, shade in middle.items()}


def _near(rng: random.Random, shade: RGB, reach: int, neutral: bool) -> RGB:
    alone = reach // 4 if neutral else reach
    together = rng.randint(alone - reach, reach - alone)
    red, green, blue = (min(255, max(0, value + together + rng.randint(-alone, alone))) for value in shade)
    return red, green, blue
