"""Where the areas of a map lie, what they are called, and where its symbols and its legend go."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from data.scalebench.families.paint import LEAST, SMALLEST, Painting, log_uniform
from data.scalebench.labels import Box
from data.scalebench.vocabulary import COLOURS, GOODS, NATURE, ROOMS, SHAPES

_PLACES = ("park", "zoo", "farm", "museum", "bank", "hotel", "shop", "pool", "cafe")
_GRIDS = ((2, 2), (2, 3), (3, 2), (3, 3))
_UNSEEN_GRIDS = ((1, 3), (4, 1), (4, 2), (2, 4))
_STEPS = {"north": (-1, 0), "south": (1, 0), "west": (0, -1), "east": (0, 1)}
_EDGE = 8.0
_UNEVEN = (0.85, 1.2)
_WIDEST_ROAD = 14.0
_LOWEST = 30.0
"""Height of an area that has room for a name and a symbol."""
_SHARE = 0.86
"""Of an area's width that its name may take."""


@dataclass(frozen=True)
class Area:
    name: str
    colour: str
    box: Box
    height: float  # of the letters of its name

    @property
    def centre(self) -> tuple[float, float]:
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


@dataclass(frozen=True)
class Symbol:
    """meaning: what the legend says. at: (row, column) of its area."""

    shape: str
    meaning: str
    at: tuple[int, int]
    size: float


@dataclass(frozen=True)
class Map:
    """noun: what an area is called. legend_height: of the letters in the legend; 0 without one."""

    noun: str
    areas: Mapping[tuple[int, int], Area]
    symbols: list[Symbol]
    ink: str
    legend_height: float
    contrast: float

    def sizes(self, *named: Area) -> dict[str, float]:
        """What makes a question about the areas ``named`` difficult."""
        return {"height": min(a.height for a in named), "n": len(self.areas), "contrast": self.contrast}


def meanings_of(rng: random.Random, painting: Painting, indoors: bool) -> list[str]:
    """What one to three symbols stand for."""
    count = min(rng.randint(1, 3), int(painting.canvas.width / 84))
    return rng.sample(GOODS if indoors else NATURE, count)


def frame_and_legend(
    rng: random.Random, painting: Painting, meanings: list[str], height: float
) -> tuple[Box, Box, bool]:
    """The boxes of the map and of its legend, and whether the legend is written downwards.

    Kept back: a legend on the left.
    """
    canvas = painting.canvas
    x1, y1 = canvas.width - _EDGE, canvas.height - _EDGE
    if not height:
        return (_EDGE, _EDGE, x1, y1), (0, 0, 0, 0), False
    if painting.style.unseen_layout and canvas.width > canvas.height * 0.8:
        wide = 2.2 * height + max(canvas.text_size(meaning, height)[0] for meaning in meanings)
        return (2 * _EDGE + wide, _EDGE, x1, y1), (_EDGE, _EDGE, _EDGE + wide, y1), True
    tall = 2.2 * height
    if rng.random() < 0.3:
        return (_EDGE, _EDGE + tall, x1, y1), (_EDGE, _EDGE, x1, _EDGE + tall), False
    return (_EDGE, _EDGE, x1, y1 - tall), (_EDGE, y1 - tall, x1, y1), False


def small(rng: random.Random, painting: Painting, indoors: bool, grid: tuple[int, int], frame: Box) -> Box:
    """A part of ``frame`` with just enough room for the smallest letters in all areas, as on a print."""
    room = rng.uniform(1.03, 1.25)
    wide = _whole(_widest(painting, indoors) / _SHARE * room, grid[1])
    tall = _whole(_LOWEST * room, grid[0])
    wide, tall = min(wide, frame[2] - frame[0]), min(tall, frame[3] - frame[1])
    x, y = rng.uniform(frame[0], frame[2] - wide), rng.uniform(frame[1], frame[3] - tall)
    return x, y, x + wide, y + tall


def _widest(painting: Painting, indoors: bool) -> float:
    return max(painting.canvas.text_size(name, LEAST)[0] for name in _names(indoors))


def grid_in(rng: random.Random, painting: Painting, indoors: bool, frame: Box) -> tuple[int, int]:
    """Rows and columns in which every name has room."""
    widest = _widest(painting, indoors)
    wide, tall = frame[2] - frame[0], frame[3] - frame[1]
    grids = _UNSEEN_GRIDS if painting.style.unseen_layout else _GRIDS
    fitting = [
        (rows, columns)
        for rows, columns in grids
        if _least(wide, columns) * _SHARE > widest and _least(tall, rows) > _LOWEST
    ]
    return rng.choice(fitting or [(3, 1) if tall > wide else (1, 3)])


def _names(indoors: bool) -> tuple[str, ...]:
    return (*ROOMS, "gym") if indoors else _PLACES


def _least(room: float, parts: int) -> float:
    """Length of the shortest of ``parts`` parts that `_cuts` can make of ``room``."""
    low, high = _UNEVEN
    return (room - _WIDEST_ROAD * (parts - 1)) * low / (low + high * (parts - 1))


def _whole(least: float, parts: int) -> float:
    """Length of which `_least` gives ``least``."""
    low, high = _UNEVEN
    return least * (low + high * (parts - 1)) / low + _WIDEST_ROAD * (parts - 1)


def symbols_in(rng: random.Random, frame: Box, meanings: list[str], grid: tuple[int, int]) -> list[Symbol]:
    """Symbols of different shapes in different areas."""
    cells = [(r, c) for r in range(grid[0]) for c in range(grid[1])]
    count = min(len(meanings), len(cells))
    shapes, spots = rng.sample(SHAPES, count), rng.sample(cells, count)
    largest = min(16.0, _least(frame[3] - frame[1], grid[0]) / 6)
    return [
        Symbol(shape, meaning, spot, 2 * log_uniform(rng, SMALLEST, max(6.5, largest)))
        for shape, meaning, spot in zip(shapes, meanings[:count], spots, strict=True)
    ]


def areas_in(
    rng: random.Random, painting: Painting, indoors: bool, grid: tuple[int, int], frame: Box, ink: str
) -> dict[tuple[int, int], Area]:
    canvas = painting.canvas
    rows, columns = grid
    road = 0.0 if indoors else log_uniform(rng, 4, _WIDEST_ROAD)
    across = _cuts(rng, frame[0], frame[2], columns, road)
    down = _cuts(rng, frame[1], frame[3], rows, road)
    names = rng.sample(_names(indoors), rows * columns)
    # A room in the colour of the walls would have none against its neighbour.
    usable = [c for c in COLOURS if c not in (canvas.background, ink, painting.readable(canvas.background))]
    colours = rng.sample(usable * 2, rows * columns)
    tallest = painting.letters(high=30, low=LEAST + 2)
    areas = {}
    for k, (r, c) in enumerate((r, c) for r in range(rows) for c in range(columns)):
        box = (across[c][0], down[r][0], across[c][1], down[r][1])
        height = min(tallest * rng.uniform(0.7, 1.0), (box[3] - box[1]) * 0.3)
        height = max(LEAST, canvas.fit([names[k]], height, (box[2] - box[0]) * _SHARE))
        areas[r, c] = Area(names[k], colours[k], box, height)
    return areas


def _cuts(rng: random.Random, start: float, end: float, parts: int, road: float) -> list[tuple[float, float]]:
    """Begin and end of ``parts`` unequal parts with roads between them."""
    shares = [rng.uniform(*_UNEVEN) for _ in range(parts)]
    room = end - start - road * (parts - 1)
    out = []
    for share in shares:
        stop = start + room * share / sum(shares)
        out.append((start, stop))
        start = stop + road
    return out


def neighbours(drawn: Map) -> list[tuple[tuple[int, int], str, tuple[int, int]]]:
    """(area, side, the area on that side of it)."""
    return [
        ((row, column), side, (row + down, column + right))
        for row, column in drawn.areas
        for side, (down, right) in _STEPS.items()
        if (row + down, column + right) in drawn.areas
    ]


def beyond(at: tuple[int, int], side: str) -> tuple[int, int]:
    """The place on that side of ``at``."""
    return at[0] + _STEPS[side][0], at[1] + _STEPS[side][1]


def lies(at: tuple[int, int], side: str, other: tuple[int, int]) -> bool:
    """Whether ``at`` is further to that side than ``other``, straight or aslant."""
    down, right = _STEPS[side]
    return (at[0] - other[0]) * down + (at[1] - other[1]) * right > 0
