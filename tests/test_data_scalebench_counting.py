"""Answers of the family `counting` worked out from the shapes that were drawn."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from data.scalebench.families.paint import REACH
from data.scalebench.style import Style
from data.scalebench.vocabulary import COLOURS, SHAPES
from tests.scalebench_drawings import UNSEEN_LAYOUT, Drawing, drawings, named

SINGULAR = {**{f"{shape}s": shape for shape in SHAPES}, "crosses": "cross"}


def counts(drawing: Drawing) -> Counter[str]:
    """Of each shape, colour, and colour with shape."""
    shapes = drawing.all("shape")
    names = [(s.name, str(s.colour), f"{s.colour} {s.name}") for s in shapes]
    return Counter(name for triple in names for name in triple)


def mentioned(text: str) -> list[str]:
    return [SINGULAR.get(name, name) for name in named(text, (*SINGULAR, *COLOURS))]


@pytest.mark.parametrize("style", [Style(), UNSEEN_LAYOUT])
def test_counts_are_those_of_the_shapes_that_were_drawn(style: Style) -> None:
    answers = set()
    for drawing in drawings("counting", style=style):
        found = counts(drawing)
        for question in drawing.questions("count"):
            assert int(question.answer) == len(drawing.all("shape"))
        for question in drawing.questions("count-shape", "count-colour"):
            (name,) = mentioned(question.text)
            assert int(question.answer) == found[name], question
            answers.add(question.answer)
    assert len(answers) >= 8
    assert "0" in answers


def test_comparisons_name_what_is_more() -> None:
    yes = []
    for drawing in drawings("counting"):
        found = counts(drawing)
        for question in drawing.questions("more"):
            one, other = mentioned(question.text)
            assert question.answer == ("yes" if found[one] > found[other] else "no"), question
            assert question.difficulty["gap"] == abs(found[one] - found[other]) > 0
            yes.append(question.answer == "yes")
        for question in drawing.questions("most"):
            rivals = COLOURS if "colour" in question.text else SHAPES
            most = max(rivals, key=lambda name: found[name])
            assert question.answer == most
            second = max(found[name] for name in rivals if name != most)
            assert question.difficulty["gap"] == found[most] - second > 0
    assert 0.35 < np.mean(yes) < 0.65


def test_existence_is_asked_of_near_misses() -> None:
    for drawing in drawings("counting"):
        found = counts(drawing)
        for question in drawing.questions("exists"):
            colour, shape = named(question.text, (*COLOURS, *SHAPES))
            assert question.answer == ("yes" if found[f"{colour} {shape}"] else "no")
            assert found[colour] > 0  # what is absent shares its colour with something


@pytest.mark.parametrize("style", [Style(), UNSEEN_LAYOUT])
def test_shapes_lie_apart_and_within_the_picture(style: Style) -> None:
    for drawing in drawings("counting", style=style):
        canvas, shapes = drawing.painting.canvas, drawing.all("shape")
        for k, one in enumerate(shapes):
            assert min(one.box[:2]) >= 0
            assert one.box[2] <= canvas.width
            assert one.box[3] <= canvas.height
            for other in shapes[:k]:
                reach = sum(REACH[s.name] * (s.box[2] - s.box[0]) / 2 for s in (one, other))
                assert math.dist((one.x, one.y), (other.x, other.y)) > reach + 2


def test_difficulty_is_what_was_drawn() -> None:
    seen: dict[str, set[float]] = {"n": set(), "size": set(), "clutter": set(), "contrast": set()}
    for drawing in drawings("counting"):
        sizes = [s.box[2] - s.box[0] for s in drawing.all("shape")]
        for question in drawing.painting.questions:
            assert question.difficulty["n"] == len(sizes)
            assert question.difficulty["size"] == pytest.approx(min(sizes), abs=0.01)
            assert question.difficulty["clutter"] == len(drawing.all("line"))
        for name, values in seen.items():
            values.add(question.difficulty[name])
    assert min(seen["size"]) < 14
    assert max(seen["size"]) > 45
    assert min(seen["n"]) < 5
    assert max(seen["n"]) > 18
    assert max(seen["clutter"]) > 15


def test_faded_pictures_are_faded_by_the_recorded_contrast() -> None:
    faded = [d for d in drawings("counting") if d.painting.questions[0].difficulty["contrast"] < 0.9]
    assert len(faded) >= 5
    for drawing in faded:
        canvas = drawing.painting.canvas
        behind = np.array(canvas.palette[canvas.background], float)
        for shape in drawing.all("shape", "circle") + drawing.all("shape", "square"):
            at = (round(shape.x * canvas.unit), round(shape.y * canvas.unit))
            pixel = np.array(canvas.image.getpixel(at), float)
            full = np.array(COLOURS[str(shape.colour)], float)
            share = np.linalg.norm(pixel - behind) / np.linalg.norm(full - behind)
            assert share == pytest.approx(drawing.painting.questions[0].difficulty["contrast"], abs=0.2)


def test_the_layout_that_is_kept_back_leaves_the_middle_empty() -> None:
    def in_the_middle(style: Style) -> list[bool]:
        return [
            abs(s.x / d.painting.canvas.width - 0.5) < 0.15
            and abs(s.y / d.painting.canvas.height - 0.5) < 0.15
            for d in drawings("counting", style=style)
            for s in d.all("shape")
        ]

    assert not any(in_the_middle(UNSEEN_LAYOUT))
    assert np.mean(in_the_middle(Style())) > 0.05
