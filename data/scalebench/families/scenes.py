"""Scenes of shapes: background, colour, shape, place, existence. The size of a shape decides the scale."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass

from data.scalebench.families import wordings
from data.scalebench.families.paint import REACH, SMALLEST, Painting, fresh, log_uniform, yes_no
from data.scalebench.style import Style
from data.scalebench.vocabulary import COLOURS, SHAPES

KINDS = {"background": 0.2, "colour": 0.13, "shape": 0.2, "place": 0.13, "exists": 0.52, "largest": 0.13}
ASKED = {"colour": 3.0, "shape": 3.0, "place": 0.2}
_BACKGROUNDS = ("white", "grey", "black", "yellow", "blue", "green")
_COVERS = {
    "circle": (3.14, 4.0), "ring": (3.14, 4.0), "square": (3.1, 3.1), "cross": (2.15, 4.0),
    "triangle": (1.3, 2.6), "star": (1.23, 3.44),
}  # fmt: skip
"""Area of a shape and of the box around it, in squares of its radius."""
_CLEARLY = 1.25
"""By what factor the largest shape leads, in both."""
_CROWDED = 0.55
"""Share of the pictures whose things are small and lie close to each other."""


@dataclass(frozen=True)
class _Thing:
    shape: str
    colour: str
    x: float
    y: float
    radius: float

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"

    @property
    def reach(self) -> float:
        """Distance of its furthest point from its centre."""
        return self.radius * REACH[self.shape]

    @property
    def covers(self) -> tuple[float, float]:
        """Its area and that of the box around it."""
        area, box = _COVERS[self.shape]
        return area * self.radius**2, box * self.radius**2


def paint(rng: random.Random, style: Style) -> Painting:
    painting = fresh(rng, style, _BACKGROUNDS)
    canvas = painting.canvas
    if rng.random() < 0.3:
        strongest = 0.15 if canvas.background == "white" else 0.3  # or it would be another colour
        canvas.gradient(rng, rng.uniform(0.1, strongest))
    things = _rows(rng, painting) if style.unseen_layout else _scatter(rng, painting)
    for thing in things:
        canvas.shape(thing.shape, thing.colour, thing.x, thing.y, thing.radius)
    _ask(rng, painting, things)
    ordered = sorted(things, key=lambda t: (t.y, t.x))
    listed = ", ".join(f"{t.name} {canvas.place(t.x, t.y)}" for t in ordered)
    painting.describe(f"{canvas.background} background: {listed}")
    _look_ups(painting, things)
    return painting


def _thing(
    rng: random.Random, painting: Painting, x: float, y: float, radius: float, things: list[_Thing]
) -> _Thing:
    """The second of the ``things`` differs from the first, so that there is enough to ask."""
    taken = things if len(things) == 1 else []
    away = {painting.canvas.background, *(t.colour for t in taken)}
    shape = rng.choice([s for s in SHAPES if s not in {t.shape for t in taken}])
    return _Thing(shape, rng.choice([c for c in COLOURS if c not in away]), x, y, radius)


def _scatter(rng: random.Random, painting: Painting) -> list[_Thing]:
    canvas = painting.canvas
    largest = min(rng.choice((16, 34, 70)), canvas.width / 2.5, canvas.height / 2.5)
    crowded = rng.random() < _CROWDED
    things: list[_Thing] = []
    for _ in range(rng.randint(4, 14) if crowded else rng.randint(2, 9)):
        for _attempt in range(20):
            radius = log_uniform(rng, SMALLEST, min(largest, 9.0) if crowded else largest)
            x = rng.uniform(radius, canvas.width - radius)
            y = rng.uniform(radius, canvas.height - radius)
            if crowded and things:
                near, angle = rng.choice(things), rng.uniform(0, 2 * math.pi)
                reach = near.radius + radius + rng.uniform(3.2, 6)
                x, y = near.x + reach * math.cos(angle), near.y + reach * math.sin(angle)
                if not (radius < x < canvas.width - radius and radius < y < canvas.height - radius):
                    continue
            thing = _thing(rng, painting, x, y, radius, things)
            if all(math.dist((x, y), (t.x, t.y)) > thing.reach + t.reach + 3 for t in things):
                things.append(thing)
                break
    return things


def _rows(rng: random.Random, painting: Painting) -> list[_Thing]:
    """The layout that is kept back: shapes in rows and columns."""
    canvas = painting.canvas
    rows, columns = rng.randint(1, 3), rng.randint(2, 4)
    wide, tall = canvas.width / columns, canvas.height / rows
    reach = min(wide, tall) / 2 - 2
    things: list[_Thing] = []
    for r in range(rows):
        for c in range(columns):
            x, y = wide * (c + 0.5), tall * (r + 0.5)
            things.append(_thing(rng, painting, x, y, log_uniform(rng, SMALLEST, reach), things))
    return things


def _ask(rng: random.Random, painting: Painting, things: list[_Thing]) -> None:
    canvas, n = painting.canvas, len(things)
    painting.ask("background", wordings.background(), canvas.background, _BACKGROUNDS, n=n)
    shapes, colours = Counter(t.shape for t in things), Counter(t.colour for t in things)
    names = Counter(t.name for t in things)
    others = [t.colour for t in things]
    for thing in _some(rng, [t for t in things if shapes[t.shape] == 1], 2):
        asked = wordings.colour_of(f"the {thing.shape}")
        painting.ask("colour", asked, thing.colour, others, size=thing.radius * 2, n=n)
    for thing in _some(rng, [t for t in things if colours[t.colour] == 1], 2):
        asked = wordings.shape_of(f"the {thing.colour} one")
        painting.ask("shape", asked, thing.shape, SHAPES, size=thing.radius * 2, n=n)
    clear = [t for t in things if names[t.name] == 1 and canvas.clearance(t.x, t.y) > 5]
    for thing in _some(rng, clear, 1):
        clearance = canvas.clearance(thing.x, thing.y)
        asked = wordings.where(f"the {thing.name}")
        place = canvas.place(thing.x, thing.y)
        painting.ask("place", asked, place, size=thing.radius * 2, n=n, distance=clearance)
    for truth in (True, False):
        thing = rng.choice(things)
        name = thing.name if truth else _near_miss(rng, painting, thing, names)
        painting.ask("exists", wordings.exists(wordings.a(name)), yes_no(truth), size=thing.radius * 2, n=n)
    first, second = sorted(things, key=lambda t: -t.covers[0])[:2]
    next_box = max(t.covers[1] for t in things if t is not first)
    if first.covers[0] > _CLEARLY * second.covers[0] and first.covers[1] > _CLEARLY * next_box:
        asked = wordings.colour_of("the largest shape")
        apart = 2 * (math.sqrt(first.covers[1]) - math.sqrt(next_box))
        painting.ask("largest", asked, first.colour, others, size=first.radius * 2, n=n, gap=apart)


def _near_miss(rng: random.Random, painting: Painting, thing: _Thing, names: Counter[str]) -> str:
    """A name with the thing's shape or colour that nothing in the picture has."""
    colours = [c for c in COLOURS if c != painting.canvas.background]
    near = [f"{c} {thing.shape}" for c in colours] + [f"{thing.colour} {s}" for s in SHAPES]
    return rng.choice([name for name in near if name not in names])


def _some(rng: random.Random, things: list[_Thing], count: int) -> list[_Thing]:
    return rng.sample(things, min(count, len(things)))


def _look_ups(painting: Painting, things: list[_Thing]) -> None:
    shapes, colours = Counter(t.shape for t in things), Counter(t.colour for t in things)
    names = Counter(t.name for t in things)
    for thing in things:
        if shapes[thing.shape] == 1:
            painting.look_up(f"{thing.shape} colour", thing.colour)
        if colours[thing.colour] == 1:
            painting.look_up(f"{thing.colour} shape", thing.shape)
        if names[thing.name] == 1:
            painting.look_up(f"{thing.name} place", painting.canvas.place(thing.x, thing.y))
    for shape in SHAPES:
        painting.look_up(f"{shape} there", yes_no(shape in shapes))
