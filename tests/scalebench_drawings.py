"""What a family of ScaleBench drew, stroke by stroke: its answers can be worked out from the drawing."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from unittest import mock

from data.scalebench.canvas import Canvas, Colour
from data.scalebench.families import family, paint
from data.scalebench.families.paint import CHOICE, Painting
from data.scalebench.labels import Box
from data.scalebench.picture import Question
from data.scalebench.style import Style

UNSEEN_LAYOUT = Style(unseen_layout=True)


@dataclass(frozen=True)
class Stroke:
    """what: shape, block, rectangle, line or text. name: the shape, the kind of block or the word."""

    what: str
    name: str
    colour: Colour | None
    box: Box

    @property
    def x(self) -> float:
        return (self.box[0] + self.box[2]) / 2

    @property
    def y(self) -> float:
        return (self.box[1] + self.box[3]) / 2

    def holds(self, other: Stroke) -> bool:
        """Whether the centre of ``other`` lies within this stroke's box."""
        return self.box[0] < other.x < self.box[2] and self.box[1] < other.y < self.box[3]

    def touches(self, other: Stroke, gap: float = 0.0) -> bool:
        a, b = self.box, other.box
        return a[0] < b[2] + gap and b[0] < a[2] + gap and a[1] < b[3] + gap and b[1] < a[3] + gap


class _Recording(Canvas):
    strokes: list[Stroke]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.strokes = []
        self._within = False

    def rectangle(
        self, box: Box, fill: Colour | None, outline: Colour | None = None, width: float = 1.0
    ) -> None:
        super().rectangle(box, fill, outline, width)
        if not self._within:
            self.strokes.append(Stroke("rectangle", "outline" if fill is None else "fill", outline, box))

    def line(self, points: Sequence[tuple[float, float]], colour: Colour, width: float = 1.0) -> None:
        super().line(points, colour, width)
        across, down = [x for x, _ in points], [y for _, y in points]
        self.strokes.append(Stroke("line", "", colour, (min(across), min(down), max(across), max(down))))

    def block(
        self, kind: str, colour: str, box: Box, text: str | None = None, outline: Colour | None = None
    ) -> None:
        self._within = True
        super().block(kind, colour, box, text, outline)
        self._within = False
        self.strokes.append(Stroke("block", kind, colour, box))

    def shape(self, shape: str, colour: str, x: float, y: float, radius: float) -> None:
        super().shape(shape, colour, x, y, radius)
        self.strokes.append(Stroke("shape", shape, colour, (x - radius, y - radius, x + radius, y + radius)))

    def text(
        self, text: str, x: float, y: float, height: float, colour: Colour = "black", anchor: str = "lt"
    ) -> Box:
        box = super().text(text, x, y, height, colour, anchor)
        self.strokes.append(Stroke("text", text.lower(), colour, box))
        return box


@dataclass(frozen=True)
class Drawing:
    painting: Painting
    strokes: list[Stroke] = field(repr=False)

    def all(self, what: str, name: str | None = None) -> list[Stroke]:
        return [s for s in self.strokes if s.what == what and name in (None, s.name)]

    def word(self, word: str) -> Stroke:
        """The one text that says ``word``."""
        (found,) = self.all("text", word)
        return found

    def questions(self, *kinds: str) -> list[Question]:
        """Those of the kinds, with options or without."""
        return [q for q in self.painting.questions if q.kind.removesuffix(CHOICE) in kinds]


@cache
def drawings(name: str, count: int = 80, style: Style = Style()) -> tuple[Drawing, ...]:  # noqa: B008
    with mock.patch.object(paint, "Canvas", _Recording):
        painted = [family(name).paint(random.Random(f"{name} {k}"), style) for k in range(count)]
    out = []
    for painting in painted:
        assert isinstance(painting.canvas, _Recording)
        out.append(Drawing(painting, painting.canvas.strokes))
    return tuple(out)


def named(text: str, names: Iterable[str]) -> list[str]:
    """Those of ``names`` that a question mentions, in its order; not those in its options."""
    asked = text.split(" Choose from ")[0]
    pattern = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    return re.findall(rf"\b(?:{pattern})\b", asked)
