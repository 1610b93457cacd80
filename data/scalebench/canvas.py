"""Drawing that remembers what it drew: pixels, dense per-patch labels and regions in one go.

All coordinates are in units of the padded 336 x 336 frame (what the backbone sees), measured from the
picture's own top left corner; a picture of another size is drawn at its own resolution. A tilted canvas
(`Canvas.tilt`) is drawn flat and laid into the picture at the end; labels and places follow.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from data.scalebench import surface
from data.scalebench.labels import FRAME, Box, Mark, paint_labels
from data.scalebench.style import RGB
from data.scalebench.vocabulary import COLOURS, PLACES

FONTS = Path(__file__).parent / "fonts"

Colour = str | RGB
"""A name of `vocabulary.COLOURS`, drawn in the picture's own shade of it, or a shade."""


@cache
def _font(name: str, pixels: int) -> ImageFont.FreeTypeFont:
    # Basic layout: the same pixels whether or not the machine has libraqm.
    return ImageFont.truetype(str(FONTS / name), pixels, layout_engine=ImageFont.Layout.BASIC)


@cache
def _capital(name: str) -> float:
    """Height of a capital, as a share of the font's size."""
    _, top, _, bottom = _font(name, 200).getbbox("H")
    return (bottom - top) / 200


@cache
def _advance(name: str, pixels: int, character: str) -> float:
    return _font(name, pixels).getlength(character)


@dataclass(frozen=True, slots=True)
class Region:
    """Something that was drawn, in words, with its box in the padded frame."""

    box: Box
    text: str


class Canvas:
    """A picture of ``width`` x ``height`` pixels on a plain background.

    width, height: of the picture, in frame units. unit: pixels per frame unit. palette: the picture's shades.
    """

    def __init__(
        self, width: int, height: int, background: str, font: str, palette: Mapping[str, RGB] = COLOURS
    ) -> None:
        self.unit = max(width, height) / FRAME
        self.width = width / self.unit
        self.height = height / self.unit
        self.background = background
        self.font = font
        self.palette = palette
        self.image = Image.new("RGB", (width, height), palette[background])
        self.regions: list[Region] = []
        self._draw = ImageDraw.Draw(self.image)
        self._left = (FRAME - self.width) / 2
        self._top = (FRAME - self.height) / 2
        self._marks: list[Mark] = []
        self._tilt: surface.Tilt | None = None
        self._surroundings: RGB = palette[background]
        self._noise: tuple[float, int] | None = None
        self._blur = 0.0

    # --- surface ----------------------------------------------------------------------------------

    def shade(self, colour: Colour) -> RGB:
        return self.palette[colour] if isinstance(colour, str) else colour

    def mix(self, one: Colour, other: Colour, share: float) -> RGB:
        """``share`` of the first colour, the rest of the second."""
        a, b = self.shade(one), self.shade(other)
        red, green, blue = (round(share * x + (1 - share) * y) for x, y in zip(a, b, strict=True))
        return red, green, blue

    def gradient(self, rng: random.Random, strength: float) -> None:
        """Light that falls off across the background; before anything is drawn. strength: 0 to 1."""
        surface.gradient(self.image, rng, strength)

    def mottle(self, rng: random.Random, strength: float) -> None:
        """A texture like plaster or stone; before anything is drawn. strength: 0 to 1."""
        surface.mottle(self.image, rng, strength)

    def tilt(self, rng: random.Random, strength: float, surroundings: Colour) -> None:
        """See the canvas from an angle; before anything is drawn.

        strength: share of the sides by which corners move inwards at most. surroundings: what shows there.
        """
        self._tilt = surface.Tilt.draw(rng, self.width, self.height, strength)
        self._surroundings = self.shade(surroundings)

    def noise(self, rng: random.Random, deviation: float) -> None:
        """Grain over the finished picture. deviation: standard deviation in grey levels of 255."""
        self._noise = (deviation, rng.getrandbits(32))

    def blur(self, radius: float) -> None:
        """Out of focus, over the finished picture; radius in frame units."""
        self._blur = radius

    def finished(self) -> Image.Image:
        """The picture as it is seen: tilted, blurred, grainy."""
        image = self.image
        if self._tilt:
            image = self._tilt.seen(image, self.unit, self._surroundings)
        if self._blur:
            image = surface.blurred(image, self._blur * self.unit)
        if self._noise:
            image = surface.grainy(image, *self._noise)
        return image

    # --- labels -----------------------------------------------------------------------------------

    def _framed(self, box: Box) -> Box:
        x0, y0, x1, y1 = self._tilt.box(box) if self._tilt else box
        return (x0 + self._left, y0 + self._top, x1 + self._left, y1 + self._top)

    def labels(self) -> dict[str, NDArray[np.int16]]:
        """The dense labels; patches of the padding get -1 under ``background``."""
        return paint_labels(self._marks, self.background, self._left, self._top)

    # --- drawing ----------------------------------------------------------------------------------

    def _pixels(self, box: Box) -> Box:
        return (box[0] * self.unit, box[1] * self.unit, box[2] * self.unit, box[3] * self.unit)

    def rectangle(
        self, box: Box, fill: Colour | None, outline: Colour | None = None, width: float = 1.0
    ) -> None:
        """A rectangle without labels: frames, lines, panels."""
        self._draw.rectangle(
            self._pixels(box),
            None if fill is None else self.shade(fill),
            None if outline is None else self.shade(outline),
            max(1, round(width * self.unit)),
        )

    def line(self, points: Sequence[tuple[float, float]], colour: Colour, width: float = 1.0) -> None:
        """A line without labels."""
        scaled = [(x * self.unit, y * self.unit) for x, y in points]
        self._draw.line(scaled, self.shade(colour), max(1, round(width * self.unit)), joint="curve")

    def block(
        self, kind: str, colour: str, box: Box, text: str | None = None, outline: Colour | None = None
    ) -> None:
        """A labelled filled rectangle: a bar, a sign, a coloured cell.

        text: what it is in words, as in "red bar"; or with what is written on it, as in "red exit".
        """
        self.rectangle(box, colour, outline)
        self.mark(kind, colour, box, text)

    def mark(self, kind: str, colour: str, box: Box, text: str | None = None) -> None:
        """Label ``box`` as an object without drawing it."""
        framed = self._framed(box)
        self._marks.append(("object", (kind, colour), framed))
        if text:
            self.regions.append(Region(framed, text))

    def slice(self, colour: str, x: float, y: float, radius: float, start: float, end: float) -> None:
        """A slice of a pie, from ``start`` to ``end`` degrees clockwise from the right."""
        box = (x - radius, y - radius, x + radius, y + radius)
        self._draw.pieslice(self._pixels(box), start, end, self.shade(colour))
        for share in (0.35, 0.75):  # labels along its middle
            angle = math.radians((start + end) / 2)
            at, reach = (
                (x + share * radius * math.cos(angle), y + share * radius * math.sin(angle)),
                radius / 6,
            )
            around = (at[0] - reach, at[1] - reach, at[0] + reach, at[1] + reach)
            self.mark("slice", colour, around, f"{colour} slice")

    def shape(self, shape: str, colour: str, x: float, y: float, radius: float) -> None:
        """A shape centred at (x, y), labelled."""
        box = (x - radius, y - radius, x + radius, y + radius)
        fill, u = self.shade(colour), self.unit
        if shape == "circle":
            self._draw.ellipse(self._pixels(box), fill)
        elif shape == "ring":
            self._draw.ellipse(self._pixels(box), None, fill, max(2, round(radius * 0.38 * u)))
        elif shape == "square":
            inner = (x - radius * 0.88, y - radius * 0.88, x + radius * 0.88, y + radius * 0.88)
            self._draw.rectangle(self._pixels(inner), fill)
        elif shape == "cross":
            arm = radius * 0.32
            self._draw.rectangle(self._pixels((x - arm, y - radius, x + arm, y + radius)), fill)
            self._draw.rectangle(self._pixels((x - radius, y - arm, x + radius, y + arm)), fill)
        else:
            corners = 3 if shape == "triangle" else 10
            points = []
            for k in range(corners):
                reach = radius * (0.42 if corners == 10 and k % 2 else 1.0)
                angle = 2 * math.pi * k / corners - math.pi / 2
                points.append(((x + reach * math.cos(angle)) * u, (y + reach * math.sin(angle)) * u))
            self._draw.polygon(points, fill)
        self.mark(shape, colour, box, f"{colour} {shape}")

    # --- text -------------------------------------------------------------------------------------

    def _size(self, height: float) -> int:
        """Size of the font, in pixels, whose capitals are ``height`` frame units high."""
        return max(6, round(height * self.unit / _capital(self.font)))

    def text_size(self, text: str, height: float) -> tuple[float, float]:
        """Width and height of ``text`` whose capitals are ``height`` high, in frame units."""
        left, top, right, bottom = _font(self.font, self._size(height)).getbbox(text)
        return (right - left) / self.unit, (bottom - top) / self.unit

    def fit(self, texts: Sequence[str], height: float, width: float) -> float:
        """The largest height of letters, at most ``height``, that keeps ``texts`` within ``width``."""
        widest = max(self.text_size(text, height)[0] for text in texts)
        return min(height, height * width / widest)

    def text(
        self, text: str, x: float, y: float, height: float, colour: Colour = "black", anchor: str = "lt"
    ) -> Box:
        """Write one word or number of the vocabulary at (x, y), its capitals ``height`` frame units high.

        Returns its box. Anchors as in Pillow.
        """
        pixels = self._size(height)
        font = _font(self.font, pixels)
        at = (x * self.unit, y * self.unit)
        left, top, right, bottom = self._draw.textbbox(at, text, font, anchor)
        self._draw.text(at, text, self.shade(colour), font, anchor)
        box = (left / self.unit, top / self.unit, right / self.unit, bottom / self.unit)
        framed = self._framed(box)
        self._marks.append(("word", (text.lower(), ""), framed))
        # Each glyph takes its share of the word's width; the advances are those of the font.
        advances = [_advance(self.font, pixels, character) for character in text]
        stretch = (framed[2] - framed[0]) / (sum(advances) or 1.0)
        cursor = framed[0]
        for character, advance in zip(text.lower(), advances, strict=True):
            wide = advance * stretch
            self._marks.append(("char", (character, ""), (cursor, framed[1], cursor + wide, framed[3])))
            cursor += wide
        self.regions.append(Region(framed, text.lower()))
        return box

    # --- words about it ---------------------------------------------------------------------------

    def _seen_at(self, x: float, y: float) -> tuple[float, float]:
        return self._tilt.point(x, y) if self._tilt else (x, y)

    def place(self, x: float, y: float) -> str:
        """Which ninth of the picture (x, y) lies in."""
        x, y = self._seen_at(x, y)
        column = min(2, max(0, int(3 * x / self.width)))
        row = min(2, max(0, int(3 * y / self.height)))
        return PLACES[3 * row + column]

    def clearance(self, x: float, y: float) -> float:
        """Distance from (x, y) to the nearest line between ninths: where it is small, `place` is luck."""
        x, y = self._seen_at(x, y)
        return min(
            *(abs(x - k * self.width / 3) for k in (1, 2)), *(abs(y - k * self.height / 3) for k in (1, 2))
        )
