"""A few shapes or labelled points: which lies left of, above, nearest to, between, inside what."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import permutations

from data.scalebench.families import arrangement, wordings
from data.scalebench.families.arrangement import Frame, Thing
from data.scalebench.families.paint import Painting, fresh, yes_no
from data.scalebench.style import Style
from data.scalebench.vocabulary import SIDES

KINDS = {
    "side": 0.55,
    "which-side": 0.55,
    "nearest": 0.22,
    "between": 0.22,
    "inside": 0.55,
    "extreme": 0.22,
    "within": 0.22,
}
ASKED = {"inside": 2.0, "side": 1.5, "which-side": 1.5, "nearest": 2.0, "between": 2.0, "extreme": 0.3}
_BACKGROUNDS = ("white", "white", "grey", "yellow", "green", "blue")
_OPPOSITE = dict(zip(SIDES, ("right", "left", "below", "above"), strict=True))
_SUPERLATIVES = {
    "left": "furthest left",
    "right": "furthest right",
    "above": "highest up",
    "below": "lowest down",
}


_Sizes = Callable[..., dict[str, float]]
"""The things that a question is about -> what makes it difficult, by name."""


def paint(rng: random.Random, style: Style) -> Painting:
    painting = fresh(rng, style, _BACKGROUNDS)
    canvas = painting.canvas
    height = painting.letters(high=min(24, canvas.height / 9)) if rng.random() < 0.4 else 0.0
    things = arrangement.place(rng, painting, height)
    frame = arrangement.frame_around(rng, painting, things)
    if frame:
        _draw_frame(painting, frame)
    ink = painting.ink(canvas.background)
    for thing in things:
        canvas.shape(thing.shape, thing.colour, thing.x, thing.y, thing.radius)
        if thing.word:
            canvas.text(thing.word, thing.x, thing.y + thing.radius + 3, height, ink, "mt")
    _ask(rng, painting, things, frame, height)
    listed = ", ".join(f"{t.key} {canvas.place(t.x, t.y)}" for t in sorted(things, key=lambda t: (t.y, t.x)))
    painting.describe(f"{canvas.background} background: {listed}")
    _look_ups(painting, things, frame)
    return painting


def _draw_frame(painting: Painting, frame: Frame) -> None:
    x0, y0, x1, y1 = frame.box
    painting.canvas.rectangle(frame.box, None, frame.colour, 3)
    for side in ((x0, y0, x1, y0 + 3), (x0, y1 - 3, x1, y1), (x0, y0, x0 + 3, y1), (x1 - 3, y0, x1, y1)):
        painting.canvas.mark("box", frame.colour, side)


def _phrase(side: str) -> str:
    return f"{side} of" if side in ("left", "right") else side


def _ask(
    rng: random.Random, painting: Painting, things: list[Thing], frame: Frame | None, height: float
) -> None:
    n = len(things)
    answers = [t.answer for t in things]

    def sizes(*named: Thing) -> dict[str, float]:
        size = 2 * min(t.radius for t in named)
        return {"size": size, "n": n, **({"height": height} if height else {})}

    _ask_sides(rng, painting, things, sizes)
    neighbours = arrangement.neighbours(things)
    for one, nearest, gap in rng.sample(neighbours, min(2, len(neighbours))):
        what = _described(one, f"nearest to {one.name}")
        distance = one.apart(nearest)
        painting.ask("nearest", what, nearest.answer, answers, **sizes(nearest), gap=gap, distance=distance)
    lines = arrangement.lines_of(things)
    if lines:
        one, middle, other = rng.choice(lines)
        what = _described(one, f"between {one.name} and {other.name}")
        painting.ask("between", what, middle.answer, answers, **sizes(middle), distance=one.apart(other))
    for side in rng.sample(SIDES, 3):
        first, gap = arrangement.outermost(things, side)
        if gap > 4:
            what = _described(first, _SUPERLATIVES[side])
            painting.ask("extreme", what, first.answer, answers, **sizes(first), gap=gap)
    if frame:
        _ask_inside(rng, painting, things, frame, sizes)
    while len(painting.questions) < 5:
        _ask_sides(rng, painting, things, sizes)


def _ask_sides(rng: random.Random, painting: Painting, things: list[Thing], sizes: _Sizes) -> None:
    one, other, side = arrangement.pair(rng, things)
    truth = rng.random() < 0.5
    a, b, so = one.name, other.name, _phrase(side if truth else _OPPOSITE[side])
    asked = (
        f"Is {a} {so} {b}?",
        f"Does {a} lie {so} {b}?",
        f"Can you see {a} {so} {b}?",
        f"Is it true that {a} is {so} {b}?",
    )
    distance = arrangement.offset(one, other, side)
    painting.ask("side", asked, yes_no(truth), **sizes(one, other), distance=distance)
    one, other, side = arrangement.pair(rng, things)
    a, b = one.name, other.name
    choice = "left or right of" if side in ("left", "right") else "above or below"
    asked = (
        f"Is {a} {choice} {b}?",
        f"Does {a} lie {choice} {b}?",
        f"Can you see {a} {choice} {b}?",
        f"Would you say that {a} is {choice} {b}?",
    )
    distance = arrangement.offset(one, other, side)
    painting.ask("which-side", asked, side, **sizes(one, other), distance=distance)


def _ask_inside(
    rng: random.Random, painting: Painting, things: list[Thing], frame: Frame, sizes: _Sizes
) -> None:
    x = f"the {frame.colour} frame"
    held = [t for t in things if frame.depth(t) > 0]
    thing = rng.choice(held if rng.random() < 0.5 else [t for t in things if t not in held])
    asked = (
        f"Is {thing.name} inside {x}?",
        f"Does {thing.name} lie inside {x}?",
        f"Is {thing.name} within {x}?",
        f"Does {x} contain {thing.name}?",
    )
    distance = abs(frame.depth(thing))
    painting.ask("inside", asked, yes_no(thing in held), **sizes(thing), distance=distance)
    if len(held) == 1:
        what = _described(held[0], f"inside {x}")
        answers = [t.answer for t in things]
        distance = frame.depth(held[0])
        painting.ask("within", what, held[0].answer, answers, **sizes(held[0]), distance=distance)


def _described(thing: Thing, where: str) -> tuple[str, ...]:
    """Asks for the word, or the colour of the shape, that is there."""
    if not thing.word:
        return wordings.colour_of(f"the shape {where}")
    return (
        f"Which word is {where}?",
        f"What is the word {where}?",
        f"Read the word {where}.",
        f"What does the word {where} say?",
    )


def _look_ups(painting: Painting, things: list[Thing], frame: Frame | None) -> None:
    for thing in things:
        painting.look_up(f"{thing.key} place", painting.canvas.place(thing.x, thing.y))
        if frame:
            painting.look_up(f"{thing.key} inside", yes_no(frame.depth(thing) > 0))
    for one, nearest, _ in arrangement.neighbours(things):
        painting.look_up(f"{one.key} nearest", nearest.answer)
    for one, other in permutations(things, 2):
        for side in ("left", "above"):
            offset = arrangement.offset(one, other, side)
            if abs(offset) > 4:
                painting.look_up(f"{one.key} {side} {other.key}", yes_no(offset > 0))
    for side in SIDES:
        first, gap = arrangement.outermost(things, side)
        if gap > 4:
            painting.look_up(f"most {side}", first.answer)
    for one, middle, other in arrangement.lines_of(things):
        painting.look_up(f"{one.key} between {other.key}", middle.answer)
