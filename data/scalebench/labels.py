"""Dense per-patch labels of what was drawn. They are painted when asked for: only training wants them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from data.scalebench.vocabulary import CHARACTER_INDEX, COLOUR_INDEX, KIND_INDEX, LABELS, word_class

FRAME = 336
PATCH = 14
GRID = FRAME // PATCH

Box = tuple[float, float, float, float]
Mark = tuple[str, tuple[str, str], Box]
"""("object", (kind, colour)), ("word", (word, "")) or ("char", (character, "")); and its box in the frame."""


def paint_labels(
    marks: Iterable[Mark], background: str, left: float, top: float
) -> dict[str, NDArray[np.int16]]:
    """Head -> int16 [24, 24]. ``marks`` in the order in which they were drawn.

    left, top: of the picture in the padded frame; patches of the padding get -1 under ``background``.
    """
    sheet = _Sheet(background)
    for what, (name, colour), box in marks:
        if what == "object":
            sheet.object(name, colour, box)
        elif what == "word":
            sheet.mark("word", word_class(name), box, 0.1)
            sheet.mark("start", 1, (box[0], box[1], box[0] + 1, box[3]), 0.0)
        else:
            sheet.character(name, box)
    centres = np.arange(GRID) * PATCH + PATCH / 2
    down = (centres > top) & (centres < FRAME - top)
    across = (centres > left) & (centres < FRAME - left)
    sheet.labels["background"][~(down[:, None] & across[None, :])] = -1
    return sheet.labels


class _Sheet:
    def __init__(self, background: str) -> None:
        self.labels = {head: np.zeros((GRID, GRID), np.int16) for head in LABELS}
        self.labels["background"][:] = COLOUR_INDEX[background]
        self._cover = {head: np.zeros((GRID, GRID)) for head in LABELS}
        self._distance = np.full((GRID, GRID), np.inf)

    def object(self, kind: str, colour: str, box: Box) -> None:
        # What is drawn later lies on top: it takes the patches it covers from what lies below.
        rows, columns = _window(box)
        for head, value in (("kind", KIND_INDEX[kind]), ("colour", 1 + COLOUR_INDEX[colour])):
            self._cover[head][rows, columns] *= 0.25
            self.mark(head, value, box, 0.15)

    def mark(self, head: str, value: int, box: Box, enough: float) -> None:
        """Label the patches that ``box`` covers more than anything marked before under this head."""
        x0, y0, x1, y1 = box
        rows, columns = _window(box)
        down, across = np.arange(GRID)[rows] * PATCH, np.arange(GRID)[columns] * PATCH
        wide = np.minimum(x1, across + PATCH) - np.maximum(x0, across)
        tall = np.minimum(y1, down + PATCH) - np.maximum(y0, down)
        covered = np.clip(tall, 0, None)[:, None] * np.clip(wide, 0, None)[None, :]
        needed = enough * min(PATCH * PATCH, max((x1 - x0) * (y1 - y0), 1.0))
        cover = self._cover[head][rows, columns]
        wins = (covered > cover) & (covered >= needed)
        self.labels[head][rows, columns][wins] = value
        cover[wins] = covered[wins]

    def character(self, character: str, box: Box) -> None:
        """The glyph nearest to a patch's centre names the patch, within the reach of the glyph."""
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        reach = max(PATCH * 0.75, (box[3] - box[1]) * 0.6)
        rows, columns = _window((x - reach, y - reach, x + reach, y + reach))
        dx = np.arange(GRID)[columns] * PATCH + PATCH / 2 - x
        dy = np.arange(GRID)[rows] * PATCH + PATCH / 2 - y
        distance = np.hypot(dx[None, :], dy[:, None])
        nearest = self._distance[rows, columns]
        wins = (distance < nearest) & (distance < reach)
        self.labels["char"][rows, columns][wins] = CHARACTER_INDEX[character]
        nearest[wins] = distance[wins]


def _window(box: Box) -> tuple[slice, slice]:
    """Rows and columns of the patches that ``box`` touches."""
    x0, y0, x1, y1 = (min(max(int(v // PATCH), 0), GRID - 1) for v in box)
    return slice(y0, y1 + 1), slice(x0, x1 + 1)
