"""Answers of the family `maps` worked out from the areas, names and symbols that were drawn."""

from __future__ import annotations

import numpy as np
import pytest

from data.scalebench.families.paint import CHOICE
from data.scalebench.style import UNSEEN_SIZES, Style
from data.scalebench.vocabulary import COLOURS, SHAPES, WORDS
from tests.scalebench_drawings import UNSEEN_LAYOUT, Drawing, Stroke, drawings, named

STYLES = [Style(), UNSEEN_LAYOUT]
SIDES = ("north", "south", "west", "east")


def areas(drawing: Drawing) -> dict[str, Stroke]:
    """Name -> area: each holds one word."""
    out = {}
    for area in drawing.all("block", "room"):
        (name,) = (s.name for s in drawing.all("text") if area.holds(s))
        out[name] = area
    return out


def symbols(drawing: Drawing) -> dict[str, str]:
    """Shape -> name of the area that it is in; those of the legend are in none."""
    return {
        s.name: name for s in drawing.all("shape") for name, area in areas(drawing).items() if area.holds(s)
    }


def meaning(drawing: Drawing, shape: str) -> str:
    """The word to the right of the shape in the legend."""
    held = areas(drawing).values()
    (sign,) = (s for s in drawing.all("shape", shape) if not any(area.holds(s) for area in held))
    words = [w for w in drawing.all("text") if abs(w.y - sign.y) < 8 and w.x > sign.x]
    return min(words, key=lambda w: w.x - sign.x).name


def is_next(one: Stroke, other: Stroke) -> str | None:
    """The side of ``other`` on which ``one`` borders on it, with at most a road between them."""
    across = min(one.box[2], other.box[2]) - max(one.box[0], other.box[0])
    down = min(one.box[3], other.box[3]) - max(one.box[1], other.box[1])
    if across > 20 and -16 < down < 2:
        return "north" if one.y < other.y else "south"
    if down > 20 and -16 < across < 2:
        return "west" if one.x < other.x else "east"
    return None


def further(one: Stroke, other: Stroke, side: str) -> bool:
    """Whether all of ``one`` lies on that side of ``other``, straight or aslant."""
    return {
        "north": one.box[3] < other.box[1] + 2,
        "south": one.box[1] > other.box[3] - 2,
        "west": one.box[2] < other.box[0] + 2,
        "east": one.box[0] > other.box[2] - 2,
    }[side]


@pytest.mark.parametrize("style", STYLES)
def test_colours_and_names_are_those_of_the_areas(style: Style) -> None:
    for drawing in drawings("maps", style=style):
        drawn = areas(drawing)
        for question in drawing.questions("colour"):
            (name,) = named(question.text, WORDS)
            assert question.answer == drawn[name].colour, question
        for question in drawing.questions("named"):
            (colour,) = named(question.text, COLOURS)
            assert [name for name, area in drawn.items() if area.colour == colour] == [question.answer]


@pytest.mark.parametrize("style", STYLES)
def test_directions_lead_to_the_area_next_to_the_one_that_is_named(style: Style) -> None:
    seen = set()
    for drawing in drawings("maps", style=style):
        drawn = areas(drawing)
        for question in drawing.questions("direction"):
            (side,), (name,) = named(question.text, SIDES), named(question.text, drawn)
            there = [n for n, area in drawn.items() if is_next(area, drawn[name]) == side]
            assert there == [question.answer], question
            assert not any(is_next(area, drawn[question.answer]) == side for area in drawn.values()), question
            if question.kind.endswith(CHOICE):
                options = named(question.text.split(" Choose from ")[1], drawn)
                assert [n for n in options if further(drawn[n], drawn[name], side)] == there, question
            seen.add(side)
    assert seen == set(SIDES)


def test_areas_are_next_to_each_other_when_they_share_a_side() -> None:
    answers = []
    for drawing in drawings("maps"):
        drawn = areas(drawing)
        for question in drawing.questions("next"):
            one, other = (drawn[name] for name in named(question.text, drawn))
            assert question.answer == ("yes" if is_next(one, other) else "no"), question
            across, down = abs(one.x - other.x), abs(one.y - other.y)
            near = across < 1.5 * (one.box[2] - one.box[0]) and down < 1.5 * (one.box[3] - one.box[1])
            assert is_next(one, other) or not near, f"corner to corner: {question}"
            answers.append(question.answer == "yes")
    assert 0.3 < np.mean(answers) < 0.7


@pytest.mark.parametrize("style", STYLES)
def test_symbols_lie_in_their_area_and_mean_what_the_legend_says(style: Style) -> None:
    legends = 0
    for drawing in drawings("maps", style=style):
        for question in drawing.questions("symbol"):
            (shape,) = named(question.text, SHAPES)
            assert question.answer == symbols(drawing)[shape], question
        for question in drawing.questions("legend"):
            (shape,) = named(question.text, SHAPES)
            assert question.answer == meaning(drawing, shape), question
            legends += 1
    assert legends > 30


def test_no_area_has_the_colour_of_the_walls() -> None:
    for drawing in drawings("maps"):
        wall = drawing.painting.readable(drawing.painting.canvas.background)
        assert all(area.colour != wall for area in areas(drawing).values())


def test_places_are_where_the_area_is() -> None:
    for drawing in drawings("maps"):
        canvas, drawn = drawing.painting.canvas, areas(drawing)
        for question in drawing.questions("place"):
            area = drawn[named(question.text, drawn)[0]]
            down = "top" if area.y < canvas.height / 3 else "bottom" if area.y > canvas.height * 2 / 3 else ""
            across = "left" if area.x < canvas.width / 3 else "right" if area.x > canvas.width * 2 / 3 else ""
            assert question.answer == (f"{down} {across}".strip() or "centre")


@pytest.mark.parametrize("style", [*STYLES, Style(sizes=UNSEEN_SIZES, square=0.0)])
def test_names_and_symbols_stay_within_their_areas_and_apart(style: Style) -> None:
    for drawing in drawings("maps", style=style):
        words, shapes = drawing.all("text"), drawing.all("shape")
        for name, area in areas(drawing).items():
            word = drawing.word(name)
            assert area.box[0] <= word.box[0]
            assert word.box[2] <= area.box[2]
            assert area.box[1] <= word.box[1]
            assert word.box[3] <= area.box[3] + 1
            assert not any(word.touches(shape, -2) for shape in shapes)
        for k, one in enumerate(words):
            assert not any(one.touches(other) for other in words[:k])
        for shape in shapes:
            assert shape.colour != drawing.painting.canvas.background
            held = [area for area in areas(drawing).values() if area.holds(shape)]
            assert all(area.colour != shape.colour for area in held)


def test_the_layout_that_is_kept_back_has_other_grids_and_its_legend_at_the_side() -> None:
    def grids(style: Style) -> set[tuple[int, int]]:
        return {
            (
                len({round(a.box[1]) for a in areas(d).values()}),
                len({round(a.box[0]) for a in areas(d).values()}),
            )
            for d in drawings("maps", style=style)
            if d.painting.canvas.width == d.painting.canvas.height
        }

    assert not grids(Style()) & grids(UNSEEN_LAYOUT)
    for drawing in drawings("maps", style=UNSEEN_LAYOUT):
        canvas = drawing.painting.canvas
        if drawing.questions("legend") and canvas.width == canvas.height:
            left = min(area.box[0] for area in areas(drawing).values())
            outside = [s for s in drawing.all("shape") if s.x < left]
            assert len(outside) == len(drawing.all("shape")) / 2
