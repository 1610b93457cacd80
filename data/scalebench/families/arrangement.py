"""Things on a plane, close or far from each other, and how they lie to each other."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from itertools import combinations, permutations

from data.scalebench.families.paint import SMALLEST, Painting, log_uniform
from data.scalebench.labels import Box
from data.scalebench.vocabulary import CITIES, COLOURS, GOODS, NATURE, SHAPES, SIDES


@dataclass(frozen=True)
class Thing:
    """A shape, named by its colour and shape, or a labelled point, named by the word below it."""

    shape: str
    colour: str
    word: str
    x: float
    y: float
    radius: float
    box: Box  # with the word

    @property
    def name(self) -> str:
        return self.word or f"the {self.colour} {self.shape}"

    @property
    def key(self) -> str:
        return self.word or f"{self.colour} {self.shape}"

    @property
    def answer(self) -> str:
        return self.word or self.colour

    def apart(self, other: Thing) -> float:
        return math.dist((self.x, self.y), (other.x, other.y))


@dataclass(frozen=True)
class Frame:
    colour: str
    box: Box

    def depth(self, thing: Thing) -> float:
        """Distance from the nearest line of the frame to the thing's centre; negative outside."""
        x0, y0, x1, y1 = self.box
        dx, dy = max(x0 - thing.x, thing.x - x1), max(y0 - thing.y, thing.y - y1)
        return -math.hypot(max(dx, 0), max(dy, 0)) if max(dx, dy) > 0 else -max(dx, dy)


# --- placing --------------------------------------------------------------------------------------


def place(rng: random.Random, painting: Painting, height: float) -> list[Thing]:
    """Four to seven things, as far as there is room; distances between them from large to tiny."""
    colours = [c for c in COLOURS if c != painting.canvas.background]
    names = rng.sample([(shape, colour) for shape in SHAPES for colour in colours], 7)
    words = rng.sample(rng.choice((GOODS, NATURE, CITIES)), 7) if height else [""] * 7
    largest = 10.0 if height else rng.choice((12.0, 22.0, 34.0))
    things: list[Thing] = []
    for k in range(rng.randint(4, 7)):
        for _attempt in range(60):
            radius = log_uniform(rng, SMALLEST, largest)
            x, y = _spot(rng, painting, things)
            box = _around(painting, x, y, radius, words[k], height)
            if _fits(painting, box) and all(_clear(box, t.box, 3) for t in things):
                things.append(Thing(*names[k], words[k], x, y, radius, box))
                break
    return things


def _spot(rng: random.Random, painting: Painting, things: list[Thing]) -> tuple[float, float]:
    """Anywhere, or close to a thing, or between two of them."""
    wide, tall = painting.canvas.width, painting.canvas.height
    way = rng.random()
    if painting.style.unseen_layout:  # the layout that is kept back: along a diagonal
        share = rng.random()
        slope = share if way < 0.5 else 1 - share
        return wide * share, tall * (slope + rng.uniform(-0.15, 0.15))
    if len(things) >= 2 and way < 0.35:
        one, other = rng.sample(things, 2)
        share, off = rng.uniform(0.35, 0.65), rng.uniform(-0.08, 0.08)
        dx, dy = other.x - one.x, other.y - one.y
        return one.x + share * dx - off * dy, one.y + share * dy + off * dx
    if things and way < 0.7:
        near, angle = rng.choice(things), rng.uniform(0, 2 * math.pi)
        reach = near.radius + log_uniform(rng, 6, 160)
        return near.x + reach * math.cos(angle), near.y + reach * math.sin(angle)
    return rng.uniform(0, wide), rng.uniform(0, tall)


def _around(painting: Painting, x: float, y: float, radius: float, word: str, height: float) -> Box:
    half, low = radius, y + radius
    if word:
        wide, tall = painting.canvas.text_size(word, height)
        half, low = max(radius, wide / 2), y + radius + 3 + tall
    return (x - half, y - radius, x + half, low)


def _fits(painting: Painting, box: Box) -> bool:
    return min(box[:2]) > 1 and box[2] < painting.canvas.width - 1 and box[3] < painting.canvas.height - 2


def _clear(a: Box, b: Box, gap: float) -> bool:
    return a[0] > b[2] + gap or b[0] > a[2] + gap or a[1] > b[3] + gap or b[1] > a[3] + gap


def frame_around(rng: random.Random, painting: Painting, things: list[Thing]) -> Frame | None:
    """A frame around some of the things that crosses none, if one is found and wanted."""
    if rng.random() < 0.35:
        return None
    canvas = painting.canvas
    colour = rng.choice([c for c in COLOURS if c != canvas.background])
    for _attempt in range(25):
        wide, tall = rng.uniform(60, 0.75 * canvas.width), rng.uniform(60, 0.75 * canvas.height)
        x, y = rng.uniform(2, canvas.width - wide - 2), rng.uniform(2, canvas.height - tall - 2)
        frame = Frame(colour, (x, y, x + wide, y + tall))
        inner = (x + 5, y + 5, x + wide - 5, y + tall - 5)
        outer = (x - 3, y - 3, x + wide + 3, y + tall + 3)
        inside = [all(_inside(t.box, inner)) for t in things]
        if (
            any(inside)
            and not all(inside)
            and all(held or _clear(t.box, outer, 0) for t, held in zip(things, inside, strict=True))
        ):
            return frame
    return None


def _inside(box: Box, outer: Box) -> tuple[bool, ...]:
    return box[0] > outer[0], box[1] > outer[1], box[2] < outer[2], box[3] < outer[3]


# --- how they lie ---------------------------------------------------------------------------------


def offset(one: Thing, other: Thing, side: str) -> float:
    """How far ``one`` lies on that side of ``other``."""
    return {
        "left": other.x - one.x,
        "right": one.x - other.x,
        "above": other.y - one.y,
        "below": one.y - other.y,
    }[side]


def pair(rng: random.Random, things: list[Thing]) -> tuple[Thing, Thing, str]:
    """Two things and the side of the second on which the first clearly lies; close pairs come up often."""
    pairs = [
        (one, other, side)
        for one, other in permutations(things, 2)
        for side in SIDES
        if offset(one, other, side) > 4
    ]
    wanted = log_uniform(rng, 5, 200)
    few = rng.sample(pairs, min(8, len(pairs)))
    return min(few, key=lambda found: abs(math.log(offset(*found) / wanted)))


def outermost(things: list[Thing], side: str) -> tuple[Thing, float]:
    """What lies furthest on that side, and by how much further than anything else.

    With words, whichever is less: between the points, or between the words' edges.
    """
    first, second = sorted(things, key=lambda t: -offset(t, things[0], side))[:2]
    edges = [_edge(t, side) for t in things if t is not first]
    return first, min(offset(first, second, side), _edge(first, side) - max(edges))


def _edge(thing: Thing, side: str) -> float:
    """How far the thing, with its word, reaches on that side."""
    x0, y0, x1, y1 = thing.box
    return {"left": -x0, "right": x1, "above": -y0, "below": y1}[side]


def neighbours(things: list[Thing]) -> list[tuple[Thing, Thing, float]]:
    """(thing, the one nearest to it, by how much it is nearer than the next), where it is clearly nearest: by
    its centre
    and by its edge."""
    out = []
    for one in things:
        near, far = sorted((t for t in things if t is not one), key=one.apart)[:2]
        gap = one.apart(far) - one.apart(near)
        edge = min(one.apart(t) - t.radius for t in things if t is not one and t is not near)
        if gap > 0.15 * one.apart(near) and gap > 4 and edge - one.apart(near) + near.radius > 4:
            out.append((one, near, gap))
    return out


def lines_of(things: list[Thing]) -> list[tuple[Thing, Thing, Thing]]:
    """(end, middle, end): the middle lies close to the line between the ends, and nothing else does."""
    out = []
    for one, other in combinations(things, 2):
        length = one.apart(other)
        if length < 30:
            continue
        dx, dy = (other.x - one.x) / length, (other.y - one.y) / length
        near = []
        for third in things:
            along = ((third.x - one.x) * dx + (third.y - one.y) * dy) / length
            off = abs((third.y - one.y) * dx - (third.x - one.x) * dy) / length
            if third is not one and third is not other and -0.1 < along < 1.1 and off < 0.45:
                near.append((third, 0.25 < along < 0.75 and off < 0.12))
        if len(near) == 1 and near[0][1]:
            out.append((one, near[0][0], other))
    return out
