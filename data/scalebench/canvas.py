"""Drawing that remembers what it drew: pixels, dense per-patch labels and regions in one go.

All coordinates are in units of the padded 336 x 336 frame (what the backbone sees), measured from the
picture's own top left corner; a picture of another size is drawn at its own resolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from data.scalebench.picture import Description
from data.scalebench.vocabulary import (
    CHARACTER_INDEX,
    COLOUR_INDEX,
    COLOURS,
    KIND_INDEX,
    LABELS,
    PLACES,
    word_class,
)

FRAME = 336
PATCH = 14
GRID = FRAME // PATCH
FONTS = Path(__file__).parent / "fonts"

Box = tuple[float, float, float, float]


@cache
def _font(name: str, pixels: int) -> ImageFont.FreeTypeFont:
    # Basic layout: the same pixels whether or not the machine has libraqm.
    return ImageFont.truetype(str(FONTS / name), pixels, layout_engine=ImageFont.Layout.BASIC)


@dataclass(frozen=True, slots=True)
class Region:
    """Something that was drawn, in words, with its box in the padded frame."""

    box: Box
    text: str


class Canvas:
    """A picture of ``width`` x ``height`` pixels on a plain background."""

    def __init__(self, width: int, height: int, background: str, font: str) -> None:
        self.unit = max(width, height) / FRAME
        self.width = width / self.unit
        self.height = height / self.unit
        self.background = background
        self.font = font
        self.image = Image.new("RGB", (width, height), COLOURS[background])
        self._draw = ImageDraw.Draw(self.image)
        self._left = (FRAME - self.width) / 2
        self._top = (FRAME - self.height) / 2
        self._labels = {head: np.zeros((GRID, GRID), np.int16) for head in LABELS}
        self._labels["background"][:] = COLOUR_INDEX[background]
        self._cover = {head: np.zeros((GRID, GRID)) for head in LABELS}
        self._distance = np.full((GRID, GRID), np.inf)
        self.regions: list[Region] = []

    # --- labels -----------------------------------------------------------------------------------

    def _framed(self, box: Box) -> Box:
        return (box[0] + self._left, box[1] + self._top, box[2] + self._left, box[3] + self._top)

    def _mark(self, head: str, value: int, box: Box, enough: float = 0.15) -> None:
        """Label the patches that ``box`` covers more than anything marked before under this head."""
        x0, y0, x1, y1 = self._framed(box)
        edges = np.arange(GRID) * PATCH
        wide = np.clip(np.minimum(x1, edges + PATCH) - np.maximum(x0, edges), 0, None)
        tall = np.clip(np.minimum(y1, edges + PATCH) - np.maximum(y0, edges), 0, None)
        cover = tall[:, None] * wide[None, :]
        needed = enough * min(PATCH * PATCH, max((x1 - x0) * (y1 - y0), 1.0))
        wins = (cover > self._cover[head]) & (cover >= needed)
        self._labels[head][wins] = value
        self._cover[head][wins] = cover[wins]

    def _mark_object(self, kind: str, colour: str, box: Box) -> None:
        # What is drawn later lies on top: it takes the patches it covers from what lies below.
        for head, value in (("kind", KIND_INDEX[kind]), ("colour", 1 + COLOUR_INDEX[colour])):
            x0, y0, x1, y1 = (int(v // PATCH) for v in self._framed(box))
            self._cover[head][max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1] *= 0.25
            self._mark(head, value, box)

    def labels(self) -> dict[str, NDArray[np.int16]]:
        """The dense labels; patches of the padding get -1 under ``background``."""
        centres = np.arange(GRID) * PATCH + PATCH / 2
        inside = ((centres > self._top) & (centres < FRAME - self._top))[:, None] & (
            (centres > self._left) & (centres < FRAME - self._left)
        )[None, :]
        out = {head: values.copy() for head, values in self._labels.items()}
        out["background"][~inside] = -1
        return out

    # --- drawing ----------------------------------------------------------------------------------

    def _pixels(self, box: Box) -> Box:
        return (box[0] * self.unit, box[1] * self.unit, box[2] * self.unit, box[3] * self.unit)

    def rectangle(self, box: Box, fill: str | None, outline: str | None = None, width: float = 1.0) -> None:
        """A rectangle without labels: frames, lines, panels."""
        self._draw.rectangle(
            self._pixels(box),
            COLOURS[fill] if fill else None,
            COLOURS[outline] if outline else None,
            max(1, round(width * self.unit)),
        )

    def line(self, points: list[tuple[float, float]], colour: str, width: float = 1.0) -> None:
        scaled = [(x * self.unit, y * self.unit) for x, y in points]
        self._draw.line(scaled, COLOURS[colour], max(1, round(width * self.unit)), joint="curve")

    def block(self, kind: str, colour: str, box: Box, text: str | None = None) -> None:
        """A labelled filled rectangle: a bar, a sign, a coloured cell."""
        self.rectangle(box, colour)
        self._mark_object(kind, colour, box)
        if text:
            self.regions.append(Region(self._framed(box), text))

    def shape(self, shape: str, colour: str, x: float, y: float, radius: float) -> None:
        """A shape centred at (x, y)."""
        box = (x - radius, y - radius, x + radius, y + radius)
        fill = COLOURS[colour]
        u = self.unit
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
        self._mark_object(shape, colour, box)
        self.regions.append(Region(self._framed(box), f"{colour} {shape}"))

    def text_size(self, text: str, size: float) -> tuple[float, float]:
        """Width and height of ``text`` at font size ``size``, in frame units."""
        left, top, right, bottom = _font(self.font, max(6, round(size * self.unit))).getbbox(text)
        return (right - left) / self.unit, (bottom - top) / self.unit

    def text(
        self, text: str, x: float, y: float, size: float, colour: str = "black", anchor: str = "lt"
    ) -> Box:
        """Write one word or number of the vocabulary at (x, y); returns its box. Anchors as in Pillow."""
        font = _font(self.font, max(6, round(size * self.unit)))
        at = (x * self.unit, y * self.unit)
        left, top, right, bottom = self._draw.textbbox(at, text, font, anchor)
        self._draw.text(at, text, COLOURS[colour], font, anchor)
        box = (left / self.unit, top / self.unit, right / self.unit, bottom / self.unit)
        self._mark("word", word_class(text), box, 0.1)
        self._mark("start", 1, (box[0], box[1], box[0] + 1, box[3]), 0.0)
        cursor = box[0]
        for character in text.lower():
            advance = font.getlength(character) / self.unit
            self._mark_character(character, cursor + advance / 2, (box[1] + box[3]) / 2, box)
            cursor += advance
        self.regions.append(Region(self._framed(box), text.lower()))
        return box

    def _mark_character(self, character: str, x: float, y: float, word: Box) -> None:
        """The glyph nearest to a patch's centre names the patch, within the reach of the glyph."""
        centres = np.arange(GRID) * PATCH + PATCH / 2
        dx = centres[None, :] - (x + self._left)
        dy = centres[:, None] - (y + self._top)
        reach = max(PATCH * 0.75, (word[3] - word[1]) * 0.6)
        distance = np.hypot(dx, dy)
        wins = (distance < self._distance) & (distance < reach)
        self._labels["char"][wins] = CHARACTER_INDEX[character]
        self._distance[wins] = distance[wins]

    # --- words about it ---------------------------------------------------------------------------

    def place(self, x: float, y: float) -> str:
        """Which ninth of the picture (x, y) lies in."""
        column = min(2, int(3 * x / self.width))
        row = min(2, int(3 * y / self.height))
        return PLACES[3 * row + column]

    def _cells(self, cells: int) -> list[list[str]]:
        """For each of ``cells`` x ``cells`` squares of the frame what lies in it, in words or "-"."""
        side = FRAME / cells
        table = [["-"] * cells for _ in range(cells)]
        best = np.zeros((cells, cells))
        for region in self.regions:
            x0, y0, x1, y1 = region.box
            for r in range(max(0, int(y0 // side)), min(cells, int(y1 // side) + 1)):
                for c in range(max(0, int(x0 // side)), min(cells, int(x1 // side) + 1)):
                    wide = min(x1, (c + 1) * side) - max(x0, c * side)
                    tall = min(y1, (r + 1) * side) - max(y0, r * side)
                    area = wide * tall / ((x1 - x0) * (y1 - y0) + 1) + wide * tall / side**2
                    if wide > 0 and tall > 0 and area > max(best[r, c], 0.15):
                        best[r, c] = area
                        table[r][c] = region.text
        return table

    def scans(self) -> list[Description]:
        """The picture cell by cell, one word a cell: what is there, and of which colour.

        At the scale of as many tokens the k-th word lies a fixed distance behind the k-th visual token:
        the first thing that a language model learns to read out.
        """
        out = []
        for cells in (6, 3):
            entries = [entry for row in self._cells(cells) for entry in row]
            things = [entry.split()[-1] for entry in entries]
            colours = [entry.split()[0] if entry.split()[0] in COLOURS else "-" for entry in entries]
            out.append(Description(f"List the {cells * cells} cells.", " ".join(things)))
            if any(colour != "-" for colour in colours):
                out.append(Description(f"List the {cells * cells} colours.", " ".join(colours)))
        return out

    def rows(self, cells: int) -> list[Description]:
        """The picture row by row."""
        return [
            Description(f"Row {r + 1} of {cells}.", " ".join(row))
            for r, row in enumerate(self._cells(cells))
            if any(entry != "-" for entry in row)
        ]
