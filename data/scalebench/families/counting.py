"""Many shapes of few kinds, scattered or in a grid: how many of each, and which of them are more."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from data.scalebench.families import wordings
from data.scalebench.families.paint import REACH, SMALLEST, Painting, fresh, log_uniform, yes_no
from data.scalebench.labels import Box
from data.scalebench.style import Style
from data.scalebench.vocabulary import COLOURS, SHAPES

KINDS = {"count": 0.18, "count-shape": 0.25, "count-colour": 0.25, "more": 0.55, "most": 0.22, "exists": 0.55}
ASKED: dict[str, float] = {}
_BACKGROUNDS = ("white", "white", "grey", "black", "yellow", "blue")
_FADING = ("red", "blue", "green", "yellow", "purple")
"""Colours that stay apart when they are mixed with white or grey: orange and brown do not."""
_CROWDED = 0.4
"""Share of the pictures whose shapes stand close to each other."""
_MOST_COUNTED = 16
"""More shapes than this are compared, but not counted one by one."""


@dataclass(frozen=True)
class _Thing:
    shape: str
    colour: str
    x: float
    y: float
    radius: float


def paint(rng: random.Random, style: Style) -> Painting:
    painting = fresh(rng, style, _BACKGROUNDS)
    canvas = painting.canvas
    colours, contrast = _colours(rng, painting)
    kinds = _kinds(rng, colours)
    things = _place(rng, painting, kinds)
    lines = _clutter(rng, painting)
    for thing in things:
        canvas.shape(thing.shape, thing.colour, thing.x, thing.y, thing.radius)
    sizes = {
        "n": len(things),
        "size": 2 * min(t.radius for t in things),
        "contrast": contrast,
        "clutter": lines,
    }
    _ask(rng, painting, things, colours, sizes)
    listed = ", ".join(
        f"{count} {colour} {shape}"
        for (colour, shape), count in sorted(Counter((t.colour, t.shape) for t in things).items())
    )
    painting.describe(f"{canvas.background} background: {listed}")
    _look_ups(painting, things)
    return painting


def _colours(rng: random.Random, painting: Painting) -> tuple[list[str], float]:
    """Two or three colours to draw in, and how far they stand out: now and then they are faded."""
    canvas = painting.canvas
    usable = [colour for colour in COLOURS if colour != canvas.background]
    if canvas.background == "black":
        usable.remove("brown")
    contrast = 1.0
    if canvas.background in ("white", "grey") and rng.random() < 0.4:
        contrast = rng.uniform(0.5, 1.0)
        usable = list(_FADING)
        canvas.palette = {name: canvas.mix(name, canvas.background, contrast) for name in COLOURS}
    return rng.sample(usable, rng.choice((2, 3))), contrast


def _kinds(rng: random.Random, colours: list[str]) -> list[tuple[str, str]]:
    """(shape, colour) of every shape to draw; each pair comes up to 2, 4 or 7 times."""
    shapes = rng.sample(SHAPES, rng.choice((2, 3)))
    pairs = list(zip(shapes, colours, strict=False))  # at least two of each
    more = [(shape, colour) for shape in shapes for colour in colours if (shape, colour) not in pairs]
    pairs += rng.sample(more, rng.randint(1, min(3, len(more))))
    most = rng.choice((2, 4, 7))
    kinds = [pair for pair in pairs for _ in range(rng.randint(1, most))]
    rng.shuffle(kinds)
    return kinds[:26]


def _place(rng: random.Random, painting: Painting, kinds: list[tuple[str, str]]) -> list[_Thing]:
    canvas = painting.canvas
    largest = min(34.0, canvas.height / 4, 0.36 * math.sqrt(canvas.width * canvas.height / len(kinds)))
    radius = log_uniform(rng, SMALLEST, max(8.0, largest))
    crowded = rng.random() < _CROWDED
    if painting.style.unseen_layout:
        spots = _around(rng, painting, len(kinds))
    elif rng.random() < 0.4:
        spots = _grid(rng, painting, len(kinds), radius if crowded else None)
    else:
        spots = []
    left, top, right, low = _part(rng, painting, len(kinds), radius) if crowded else _whole(painting)
    things: list[_Thing] = []
    for k, (shape, colour) in enumerate(kinds):
        reach = radius * rng.uniform(0.85, 1.15)
        for _attempt in range(40):
            if spots:
                x, y, most = spots[k]
                reach = min(reach, most / REACH[shape])
            else:
                x = rng.uniform(left + reach + 1, right - reach - 1)
                y = rng.uniform(top + reach + 1, low - reach - 1)
            corner = reach * REACH[shape]
            if spots or all(
                math.hypot(x - t.x, y - t.y) > corner + t.radius * REACH[t.shape] + 3 for t in things
            ):
                things.append(_Thing(shape, colour, x, y, reach))
                break
    return things


def _whole(painting: Painting) -> Box:
    return (0.0, 0.0, painting.canvas.width, painting.canvas.height)


def _part(rng: random.Random, painting: Painting, count: int, radius: float) -> Box:
    """A square of the picture that ``count`` shapes fill, with little between them."""
    canvas = painting.canvas
    side = 1.7 * (2.3 * radius + 3) * math.sqrt(count)
    wide, tall = min(side, canvas.width), min(side, canvas.height)
    left, top = rng.uniform(0, canvas.width - wide), rng.uniform(0, canvas.height - tall)
    return (left, top, left + wide, top + tall)


def _grid(
    rng: random.Random, painting: Painting, count: int, radius: float | None
) -> list[tuple[float, float, float]]:
    """(x, y, largest radius) of cells in rows and columns, a few of which stay empty.

    radius: of shapes that stand close to each other; None: cells fill the picture.
    """
    wide, tall = painting.canvas.width, painting.canvas.height
    columns = min(count, max(2, round(math.sqrt(count * wide / tall) * rng.uniform(0.85, 1.3))))
    rows = -(-count // columns)
    side = min(wide / columns, tall / rows) * rng.uniform(0.75, 1.0)
    if radius is not None:
        side = min(side, 2.3 * radius + 4)
    left, top = (wide - columns * side) / 2, (tall - rows * side) / 2
    cells = [(c, r) for r in range(rows) for c in range(columns)]
    chosen = sorted(rng.sample(cells, count), key=cells.index)
    return [(left + side * (c + 0.5), top + side * (r + 0.5), side / 2 - 1.5) for c, r in chosen]


def _around(rng: random.Random, painting: Painting, count: int) -> list[tuple[float, float, float]]:
    """The layout that is kept back: evenly spaced on an oval."""
    wide, tall = painting.canvas.width, painting.canvas.height
    a, b = wide * rng.uniform(0.36, 0.42), tall * rng.uniform(0.36, 0.42)
    turn = rng.uniform(0, 2 * math.pi)
    spots = [
        (wide / 2 + a * math.cos(turn + angle), tall / 2 + b * math.sin(turn + angle))
        for angle in (2 * math.pi * k / count for k in range(count))
    ]
    gap = min(math.dist(one, other) for one, other in zip(spots, spots[1:] + spots[:1], strict=True))
    edge = min(wide / 2 - a, tall / 2 - b)
    return [(x, y, min(gap / 2 - 1.5, edge - 2)) for x, y in spots]


def _clutter(rng: random.Random, painting: Painting) -> int:
    """Short pale strokes under the shapes; returns how many."""
    canvas = painting.canvas
    count = rng.choice((0, 0, 0, rng.randint(1, 40)))
    for _ in range(count):
        ink = canvas.mix(painting.ink(canvas.background), canvas.background, rng.uniform(0.2, 0.5))
        x, y = rng.uniform(0, canvas.width), rng.uniform(0, canvas.height)
        angle, reach = rng.uniform(0, math.pi), rng.uniform(4, 20)
        across, down = reach * math.cos(angle), reach * math.sin(angle)
        canvas.line([(x - across, y - down), (x + across, y + down)], ink, rng.uniform(1, 2))
    return count


def _ask(
    rng: random.Random,
    painting: Painting,
    things: list[_Thing],
    colours: list[str],
    sizes: dict[str, float],
) -> None:
    if len(things) <= _MOST_COUNTED:
        painting.ask("count", wordings.how_many("shapes"), len(things), _near(rng, len(things)), **sizes)
    by_shape, by_colour = Counter(t.shape for t in things), Counter(t.colour for t in things)
    absent = rng.choice([shape for shape in SHAPES if shape not in by_shape])
    asked = [*by_shape, absent] if rng.random() < 0.3 else list(by_shape)
    for shape in rng.sample(asked, min(2, len(asked))):
        count = by_shape[shape]
        painting.ask("count-shape", wordings.how_many(_several(shape)), count, _near(rng, count), **sizes)
    for colour in rng.sample(list(by_colour), min(2, len(by_colour))):
        count = by_colour[colour]
        painting.ask("count-colour", wordings.how_many(f"{colour} shapes"), count, _near(rng, count), **sizes)
    _compare(rng, painting, by_shape, _several, sizes)
    _compare(rng, painting, by_colour, lambda colour: f"{colour} shapes", sizes)
    _most(painting, by_colour, "colour", colours, sizes)
    _most(painting, by_shape, "shape", list(by_shape), sizes)
    there = {(t.colour, t.shape) for t in things}
    near = [pair for pair in ((c, s) for c in by_colour for s in by_shape) if pair not in there]
    near = near or [(c, absent) for c in by_colour]
    for pairs, truth in ((sorted(there), True), (near, False)):
        colour, shape = rng.choice(pairs)
        painting.ask("exists", wordings.exists(f"{wordings.a(colour)} {shape}"), yes_no(truth), **sizes)


def _several(shape: str) -> str:
    return f"{shape}es" if shape == "cross" else f"{shape}s"


def _near(rng: random.Random, count: int) -> list[int]:
    """Three other numbers; among the four the right one is as often the least as any other. Below three there
    is no room for that, and no choice."""
    if count < 3:
        return []
    below = rng.randint(0, 3)
    less, more = range(max(0, count - 4), count), range(count + 1, count + 5)
    return [*rng.sample(less, below), *rng.sample(more, 3 - below)]


def _compare(
    rng: random.Random,
    painting: Painting,
    counts: Counter[str],
    named: Callable[[str], str],
    sizes: dict[str, float],
) -> None:
    """Which of two is more, when they differ."""
    pairs = [(a, b) for a in counts for b in counts if counts[a] != counts[b]]
    if not pairs:
        return
    one, other = rng.choice(pairs)
    a, b = named(one), named(other)
    painting.ask(
        "more",
        (
            f"Are there more {a} than {b}?",
            f"Does the picture show more {a} than {b}?",
            f"Can you see more {a} than {b}?",
            f"Is the number of {a} larger than that of {b}?",
        ),
        yes_no(counts[one] > counts[other]),
        gap=abs(counts[one] - counts[other]),
        **sizes,
    )


def _most(
    painting: Painting, counts: Counter[str], what: str, options: list[str], sizes: dict[str, float]
) -> None:
    """The commonest colour or shape, when there is one."""
    first, lead = _lead(counts)
    if not lead:
        return
    painting.ask(
        "most",
        (
            f"Which {what} do most shapes have?",
            f"What is the commonest {what}?",
            f"Which {what} is there most often?",
            f"Which {what} is the most frequent?",
        ),
        first,
        options,
        gap=lead,
        **sizes,
    )


def _lead(counts: Counter[str]) -> tuple[str, int]:
    """What there is most of, and by how many more than of anything else."""
    (first, most), (_, second) = [*counts.most_common(2), ("", 0)][:2]
    return first, most - second


def _look_ups(painting: Painting, things: list[_Thing]) -> None:
    by_shape, by_colour = Counter(t.shape for t in things), Counter(t.colour for t in things)
    pairs = Counter((t.colour, t.shape) for t in things)
    for shape in SHAPES:
        painting.look_up(f"{shape} count", by_shape[shape])
        painting.look_up(f"{shape} there", yes_no(by_shape[shape] > 0))
    for colour, count in by_colour.items():
        painting.look_up(f"{colour} count", count)
        for shape in by_shape:
            painting.look_up(f"{colour} {shape} count", pairs[colour, shape])
            painting.look_up(f"{colour} {shape} there", yes_no(pairs[colour, shape] > 0))
    painting.look_up("count", len(things))
    for what, counts in (("colour", by_colour), ("shape", by_shape)):
        first, lead = _lead(counts)
        if lead:
            painting.look_up(f"most {what}", first)
