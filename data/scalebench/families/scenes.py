"""Scenes of shapes: background, colour, place, count, existence. The size of a shape decides the scale."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from data.scalebench.families.paint import Painting, fresh, log_uniform, yes_no
from data.scalebench.vocabulary import COLOURS, SHAPES

_BACKGROUNDS = ("white", "grey", "black", "yellow", "blue", "green")


@dataclass(frozen=True)
class _Thing:
    shape: str
    colour: str
    x: float
    y: float
    radius: float


def paint(rng: random.Random) -> Painting:
    painting = fresh(rng, _BACKGROUNDS)
    things = _scatter(rng, painting)
    for thing in things:
        painting.canvas.shape(thing.shape, thing.colour, thing.x, thing.y, thing.radius)
    _ask_about_all(rng, painting, things)
    _ask_about_one(rng, painting, things)
    _ask_about_place(rng, painting, things)
    ordered = sorted(things, key=lambda t: (t.y, t.x))
    listed = ", ".join(f"{t.colour} {t.shape} {painting.canvas.place(t.x, t.y)}" for t in ordered)
    painting.describe("Describe the picture.", f"{painting.canvas.background} background: {listed}")
    _look_ups(painting, things)
    return painting


def _scatter(rng: random.Random, painting: Painting) -> list[_Thing]:
    canvas = painting.canvas
    colours = [c for c in COLOURS if c != canvas.background]
    largest = rng.choice((18, 40, 75))
    things: list[_Thing] = []
    for _ in range(rng.randint(1, 9)):
        for _attempt in range(20):
            radius = log_uniform(rng, 6, largest)
            x = rng.uniform(radius, canvas.width - radius)
            y = rng.uniform(radius, canvas.height - radius)
            if all((x - t.x) ** 2 + (y - t.y) ** 2 > (radius + t.radius + 3) ** 2 for t in things):
                things.append(_Thing(rng.choice(SHAPES), rng.choice(colours), x, y, radius))
                break
    return things


def _look_ups(painting: Painting, things: list[_Thing]) -> None:
    shapes, colours = Counter(t.shape for t in things), Counter(t.colour for t in things)
    pairs = Counter((t.colour, t.shape) for t in things)
    for thing in things:
        if shapes[thing.shape] == 1:
            painting.look_up(f"{thing.shape} colour", thing.colour)
        if colours[thing.colour] == 1:
            painting.look_up(f"{thing.colour} shape", thing.shape)
        if pairs[thing.colour, thing.shape] == 1:
            place = painting.canvas.place(thing.x, thing.y)
            painting.look_up(f"{thing.colour} {thing.shape} place", place)
    for shape in SHAPES:
        painting.look_up(f"{shape} count", shapes[shape])
    for colour in COLOURS:
        if colour != painting.canvas.background:
            painting.look_up(f"{colour} count", colours[colour])


def _ask_about_all(rng: random.Random, painting: Painting, things: list[_Thing]) -> None:
    smallest = min(t.radius for t in things) * 2
    text = rng.choice(
        (
            "What colour is the background?",
            "Which colour is behind the shapes?",
            "What is the background colour?",
        )
    )
    painting.ask("background", text, painting.canvas.background)
    text = rng.choice(
        ("How many shapes are there?", "How many shapes are in the picture?", "Count all the shapes.")
    )
    painting.ask("count", text, len(things), size=smallest, n=len(things))
    name = rng.choice(things).shape if rng.random() < 0.8 else rng.choice(SHAPES)
    count = sum(t.shape == name for t in things)
    text = rng.choice(
        (f"How many {name} shapes are there?", f"Count the {name} shapes.", f"Number of {name} shapes?")
    )
    painting.ask("count-shape", text, count, size=smallest, n=len(things))
    colour = rng.choice(things).colour if rng.random() < 0.8 else rng.choice(list(COLOURS))
    count = sum(t.colour == colour for t in things)
    text = rng.choice((f"How many {colour} shapes are there?", f"Count the {colour} shapes."))
    painting.ask("count-colour", text, count, size=smallest, n=len(things))


def _ask_about_one(rng: random.Random, painting: Painting, things: list[_Thing]) -> None:
    shapes = Counter(t.shape for t in things)
    colours = Counter(t.colour for t in things)
    thing = rng.choice(things)
    if rng.random() < 0.5:
        shape, colour = thing.shape, thing.colour
    else:  # a near miss: right shape or right colour, as the picture allows
        shape, colour = thing.shape, rng.choice(list(COLOURS))
    there = any(t.shape == shape and t.colour == colour for t in things)
    text = rng.choice(
        (
            f"Is there a {colour} {shape}?",
            f"Can you see a {colour} {shape}?",
            f"Does the picture show a {colour} {shape}?",
        )
    )
    painting.ask("exists", text, yes_no(there), size=thing.radius * 2, n=len(things))
    single = [t for t in things if shapes[t.shape] == 1]
    if single:
        thing = rng.choice(single)
        text = rng.choice(
            (
                f"What colour is the {thing.shape}?",
                f"Which colour does the {thing.shape} have?",
                f"The {thing.shape} is of what colour?",
            )
        )
        painting.ask("colour", text, thing.colour, size=thing.radius * 2, n=len(things))
    single = [t for t in things if colours[t.colour] == 1]
    if single:
        thing = rng.choice(single)
        text = rng.choice(
            (
                f"Which shape is {thing.colour}?",
                f"What shape is the {thing.colour} one?",
                f"What is the {thing.colour} thing?",
            )
        )
        painting.ask("shape", text, thing.shape, size=thing.radius * 2, n=len(things))


def _ask_about_place(rng: random.Random, painting: Painting, things: list[_Thing]) -> None:
    pairs = Counter((t.colour, t.shape) for t in things)
    single = [t for t in things if pairs[t.colour, t.shape] == 1]
    if single:
        thing = rng.choice(single)
        name = f"{thing.colour} {thing.shape}"
        text = rng.choice(
            (
                f"Where is the {name}?",
                f"In which part of the picture is the {name}?",
                f"Where can I find the {name}?",
            )
        )
        painting.ask(
            "place", text, painting.canvas.place(thing.x, thing.y), size=thing.radius * 2, n=len(things)
        )
    if len(single) >= 2:
        one, two = rng.sample(single, 2)
        relation, truth = rng.choice(
            (
                ("left of", one.x < two.x),
                ("right of", one.x > two.x),
                ("above", one.y < two.y),
                ("below", one.y > two.y),
            )
        )
        a, b = f"{one.colour} {one.shape}", f"{two.colour} {two.shape}"
        text = rng.choice((f"Is the {a} {relation} the {b}?", f"Does the {a} lie {relation} the {b}?"))
        apart = abs(one.x - two.x) if "of" in relation else abs(one.y - two.y)
        painting.ask("relation", text, yes_no(truth), size=min(one.radius, two.radius) * 2, distance=apart)
    biggest = max(things, key=lambda t: t.radius)
    text = rng.choice(("What colour is the largest shape?", "Which colour has the biggest shape?"))
    painting.ask("largest", text, biggest.colour, size=biggest.radius * 2, n=len(things))
