"""Answers of the family `relations` worked out from where things were drawn."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from data.scalebench.labels import Box
from data.scalebench.style import Style
from data.scalebench.vocabulary import COLOURS, WORDS
from tests.scalebench_drawings import UNSEEN_LAYOUT, Drawing, Stroke, drawings, named

STYLES = [Style(), UNSEEN_LAYOUT]
OUTERMOST = {"furthest left": (-1, 0), "furthest right": (1, 0), "highest up": (0, -1), "lowest down": (0, 1)}


def things(drawing: Drawing) -> dict[str, Stroke]:
    """Name, as questions put it -> shape."""
    drawn = [s for s in drawing.strokes if s.what in ("shape", "text")]
    if drawing.all("text"):
        return {word.name: shape for shape, word in pairwise(drawn) if word.what == "text"}
    return {f"{shape.colour} {shape.name}": shape for shape in drawn}


def answer_of(drawing: Drawing, shape: Stroke) -> str:
    """What stands for a thing in an answer: its word, or its colour."""
    (name,) = (name for name, one in things(drawing).items() if one is shape)
    return name if drawing.all("text") else str(shape.colour)


def apart(one: Stroke, other: Stroke) -> float:
    return math.dist((one.x, one.y), (other.x, other.y))


def frame_of(drawing: Drawing) -> Box:
    (frame,) = drawing.all("rectangle", "outline")
    return frame.box


def lies(side: str, one: Stroke, other: Stroke) -> bool:
    return {
        "left": one.x < other.x,
        "right": one.x > other.x,
        "above": one.y < other.y,
        "below": one.y > other.y,
    }[side]


@pytest.mark.parametrize("style", STYLES)
def test_sides_are_those_of_the_drawing(style: Style) -> None:
    yes, distances = [], []
    for drawing in drawings("relations", 150, style):
        where = things(drawing)
        for question in drawing.questions("side"):
            one, other = (where[name] for name in named(question.text, where))
            (side,) = named(question.text, ("left", "right", "above", "below"))
            assert question.answer == ("yes" if lies(side, one, other) else "no"), question
            across = abs(one.x - other.x) if side in ("left", "right") else abs(one.y - other.y)
            assert question.difficulty["distance"] == pytest.approx(across, abs=0.01)
            yes.append(question.answer == "yes")
            distances.append(across)
        for question in drawing.questions("which-side"):
            one, other = (where[name] for name in named(question.text, where))
            offered = named(question.text, ("left", "right", "above", "below"))
            assert question.answer in offered
            assert lies(question.answer, one, other), question
    assert 0.35 < np.mean(yes) < 0.65
    assert min(distances) < 8
    assert max(distances) > 120


@pytest.mark.parametrize("style", STYLES)
def test_the_nearest_thing_is_nearest_by_a_margin(style: Style) -> None:
    asked = 0
    for drawing in drawings("relations", 150, style):
        where = things(drawing)
        for question in drawing.questions("nearest"):
            (name,) = named(question.text, where)
            near, far = sorted(
                (s for s in where.values() if s is not where[name]), key=lambda s: apart(s, where[name])
            )[:2]
            assert question.answer == answer_of(drawing, near), question
            assert apart(far, where[name]) > 1.1 * apart(near, where[name])
            edges = {s: apart(s, where[name]) - (s.box[2] - s.box[0]) / 2 for s in where.values()}
            assert all(edges[s] > edges[near] + 3 for s in where.values() if s not in (near, where[name]))
            asked += 1
    assert asked > 100


def test_what_lies_between_is_the_least_detour() -> None:
    asked = 0
    for drawing in drawings("relations", 150):
        where = things(drawing)
        for question in drawing.questions("between"):
            one, other = (where[name] for name in named(question.text, where))
            rest = [s for s in where.values() if s is not one and s is not other]
            middle = min(rest, key=lambda s: apart(s, one) + apart(s, other))
            assert question.answer == answer_of(drawing, middle), question
            assert apart(middle, one) + apart(middle, other) < 1.1 * apart(one, other)
            asked += 1
    assert asked > 40


def _end(stroke: Stroke, dx: int, dy: int) -> float:
    """How far a stroke reaches in a direction."""
    x0, y0, x1, y1 = stroke.box
    return max(x * dx + y * dy for x in (x0, x1) for y in (y0, y1))


@pytest.mark.parametrize("style", STYLES)
def test_the_outermost_thing_is_asked_for_where_it_is_clear(style: Style) -> None:
    seen = set()
    for drawing in drawings("relations", 150, style):
        where = things(drawing)
        for question in drawing.questions("extreme"):
            (end,) = named(question.text, OUTERMOST)
            dx, dy = OUTERMOST[end]
            first, second = sorted(where.values(), key=lambda s: -(s.x * dx + s.y * dy))[:2]
            assert question.answer == answer_of(drawing, first), question
            gap = abs((first.x - second.x) * dx + (first.y - second.y) * dy)
            told = question.difficulty["gap"]
            assert told > 4
            if drawing.all("text"):
                assert told <= gap + 0.01
                whole = {id(shape): (shape, drawing.word(name)) for name, shape in where.items()}
                ends = {key: max(_end(s, dx, dy) for s in pair) for key, pair in whole.items()}
                rest = [value for key, value in ends.items() if key != id(first)]
                assert ends[id(first)] - max(rest) > 2, question
            else:
                assert min(
                    gap, _end(first, dx, dy) - max(_end(s, dx, dy) for s in where.values() if s is not first)
                ) == (pytest.approx(told, abs=0.01))
            seen.add(end)
    assert seen == set(OUTERMOST)


def test_things_are_inside_the_frame_or_outside_and_never_on_it() -> None:
    answers = []
    for drawing in drawings("relations", 150):
        where = things(drawing)
        for question in drawing.questions("inside", "within"):
            x0, y0, x1, y1 = frame_of(drawing)
            inside = {name: x0 < s.x < x1 and y0 < s.y < y1 for name, s in where.items()}
            for shape in where.values():
                crosses = shape.box[0] < x0 < shape.box[2] or shape.box[0] < x1 < shape.box[2]
                assert not (crosses and y0 < shape.y < y1)
            if question.kind.startswith("inside"):
                (name,) = named(question.text, where)
                assert question.answer == ("yes" if inside[name] else "no"), question
                answers.append(inside[name])
            else:
                (only,) = (name for name, held in inside.items() if held)
                assert question.answer == answer_of(drawing, where[only])
    assert len(answers) > 40
    assert 0.3 < np.mean(answers) < 0.7


@pytest.mark.parametrize("style", STYLES)
def test_things_have_names_of_their_own_and_do_not_touch(style: Style) -> None:
    labelled = 0
    for drawing in drawings("relations", 150, style):
        shapes, words = drawing.all("shape"), drawing.all("text")
        assert len(things(drawing)) == len(shapes) >= 3
        assert {w.name for w in words} <= set(WORDS)
        assert {str(s.colour) for s in shapes} <= set(COLOURS) - {drawing.painting.canvas.background}
        for kind in (shapes, words):
            for k, one in enumerate(kind):
                assert not any(one.touches(other) for other in kind[:k])
        labelled += bool(words)
    assert 20 < labelled < 130


def test_the_layout_that_is_kept_back_runs_along_diagonals() -> None:
    def off_the_diagonals(style: Style) -> float:
        away = []
        for drawing in drawings("relations", 150, style):
            canvas = drawing.painting.canvas
            for shape in drawing.all("shape"):
                x, y = shape.x / canvas.width, shape.y / canvas.height
                away.append(min(abs(x - y), abs(x + y - 1)) > 0.16)
        return float(np.mean(away))

    assert off_the_diagonals(UNSEEN_LAYOUT) == 0
    assert off_the_diagonals(Style()) > 0.2
