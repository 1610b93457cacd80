"""Answers of scenes, signs, receipts, tables, shelves and boards worked out from what was drawn."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

import numpy as np
import pytest

from data.scalebench.canvas import Canvas
from data.scalebench.families.paint import REACH
from data.scalebench.style import FONTS, Style
from data.scalebench.vocabulary import CITIES, COLOURS, DAYS, GOODS, SHAPES, WORDS
from tests.scalebench_drawings import UNSEEN_LAYOUT, Drawing, Stroke, drawings, named

STYLES = [Style(), UNSEEN_LAYOUT]


def yes_no(truth: bool) -> str:
    return "yes" if truth else "no"


def nearest(strokes: Iterable[Stroke], x: float | None = None, y: float | None = None) -> Stroke:
    """The stroke whose centre is nearest to these coordinates; None: wherever it is."""
    return min(strokes, key=lambda s: (x is not None and abs(s.x - x)) + (y is not None and abs(s.y - y)))


def numbers(drawing: Drawing) -> list[Stroke]:
    return [s for s in drawing.all("text") if s.name.isdigit()]


def words(drawing: Drawing) -> list[Stroke]:
    return [s for s in drawing.all("text") if not s.name.isdigit()]


def number_in(text: str) -> str:
    found: str
    (found,) = re.findall(r"\d+", text.split(" Choose from ")[0])
    return found


def block_of(drawing: Drawing, kind: str, colour: str) -> Stroke:
    (found,) = [s for s in drawing.all("block", kind) if s.colour == colour]
    return found


@pytest.mark.parametrize("style", STYLES)
def test_scenes(style: Style) -> None:
    for drawing in drawings("scenes", style=style):
        canvas, shapes = drawing.painting.canvas, drawing.all("shape")
        for question in drawing.questions("background"):
            assert question.answer == canvas.background
        for question in drawing.questions("colour"):
            (shape,) = named(question.text, SHAPES)
            assert [question.answer] == [s.colour for s in shapes if s.name == shape]
        for question in drawing.questions("shape"):
            (colour,) = named(question.text, COLOURS)
            assert [question.answer] == [s.name for s in shapes if s.colour == colour]
        for question in drawing.questions("place"):
            asked = (named(question.text, COLOURS)[0], named(question.text, SHAPES)[0])
            (thing,) = [s for s in shapes if (s.colour, s.name) == asked]
            assert question.answer == canvas.place(thing.x, thing.y)
        for question in drawing.questions("exists"):
            asked = (named(question.text, COLOURS)[0], named(question.text, SHAPES)[0])
            assert question.answer == yes_no(asked in {(s.colour, s.name) for s in shapes})
        for question in drawing.questions("largest"):
            first, *others = sorted(shapes, key=_area, reverse=True)
            assert question.answer == first.colour
            assert all(1.2 * _area(s) < _area(first) for s in others), question
            assert all(1.2 * _around(s) < _around(first) for s in others), question


@cache
def _drawn(shape: str) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Where ``shape`` of radius 60 has ink, around its centre."""
    canvas = Canvas(336, 336, "white", FONTS[0])
    canvas.shape(shape, "black", 168, 168, 60)
    seen = np.asarray(canvas.finished().convert("L")) < 128
    if shape == "ring":  # what it encloses counts
        y, x = np.mgrid[:336, :336]
        seen |= (x - 167.5) ** 2 + (y - 167.5) ** 2 < 55**2
    return seen


def _area(stroke: Stroke) -> float:
    return float(_drawn(stroke.name).sum()) * ((stroke.box[2] - stroke.box[0]) / 120) ** 2


def _around(stroke: Stroke) -> float:
    """Area of the box around the ink."""
    y, x = np.nonzero(_drawn(stroke.name))
    return float(np.ptp(y) * np.ptp(x)) * ((stroke.box[2] - stroke.box[0]) / 120) ** 2


@pytest.mark.parametrize("shape", SHAPES)
def test_no_point_of_a_shape_is_further_from_its_centre_than_is_said(shape: str) -> None:
    y, x = np.nonzero(_drawn(shape))
    furthest = float(np.hypot(y - 167.5, x - 167.5).max()) / 60
    assert REACH[shape] - 0.05 < furthest < REACH[shape] + 0.02


@pytest.mark.parametrize("style", STYLES)
def test_signs(style: Style) -> None:
    for drawing in drawings("signs", style=style):
        canvas, signs = drawing.painting.canvas, drawing.all("block", "sign")
        said = {s.name: next(b for b in signs if b.holds(s)) for s in words(drawing)}
        assert len(said) == len(signs)
        for question in drawing.questions("read"):
            (colour,) = named(question.text, COLOURS)
            assert said[question.answer].colour == colour
        for question in drawing.questions("colour"):
            (word,) = named(question.text, said)
            assert said[word].colour == question.answer
        for question in drawing.questions("exists"):
            word = question.text.rstrip("?.").split(" that says ")[1].split()[0]
            assert question.answer == yes_no(word in said)
        for question in drawing.questions("count"):
            assert question.answer == str(len(signs))
        for question in drawing.questions("place"):
            (colour,) = named(question.text, COLOURS)
            sign = block_of(drawing, "sign", colour)
            assert question.answer == canvas.place(sign.x, sign.y)
        for question in drawing.questions("largest"):
            # The height of letters: the words' boxes differ by their ascenders too.
            heights = {q.answer: q.difficulty["height"] for q in drawing.questions("read")}
            assert all(question.difficulty["height"] >= height for height in heights.values())
            areas = {s: (s.box[2] - s.box[0]) * (s.box[3] - s.box[1]) for s in signs}
            assert said[question.answer] is max(signs, key=areas.__getitem__)


@pytest.mark.parametrize("style", STYLES)
def test_receipts_and_forms(style: Style) -> None:
    receipts = forms = 0
    for drawing in drawings("receipts", style=style):
        (band,) = drawing.all("block", "box")
        (heading,) = [s for s in drawing.all("text") if band.holds(s)]
        below = [s for s in drawing.all("text") if s is not heading]
        for question in drawing.questions("heading"):
            assert question.answer == heading.name
        for question in drawing.questions("colour"):
            assert question.answer == band.colour
        lines = [s for s in below if s.name in (*GOODS, "total")] if drawing.questions("total") else []
        prices = {s.name: nearest(numbers(drawing), y=s.y).name for s in lines}
        for question in drawing.questions("value", "total"):
            receipts += 1
            (good,) = named(question.text, (*GOODS, "total"))
            assert prices[good] == question.answer
        for question in drawing.questions("item"):
            assert prices[question.answer] == number_in(question.text)
        if lines:
            for question in drawing.questions("exists"):
                (good,) = named(question.text, GOODS)
                assert question.answer == yes_no(good in prices)
        frames = [s for s in drawing.all("rectangle") if s.name == "outline"]
        for question in drawing.questions("field"):
            forms += 1
            (name,) = named(question.text, ("name", "city", "day", "item", "age"))
            label = next(s for s in below if s.name == name)
            if style.unseen_layout:  # the label stands above its field
                frame = min((f for f in frames if f.y > label.y), key=lambda f: f.y)
            else:
                frame = nearest(frames, y=label.y)
            assert [question.answer] == [s.name for s in below if frame.holds(s)]
        ticks = [s for s in drawing.all("line") if s.box[2] - s.box[0] < 20 and s.box[3] - s.box[1] > 2]
        for question in drawing.questions("ticked"):
            (month,) = named(question.text, WORDS)
            label = next(s for s in below if s.name == month)
            box = max((s for s in drawing.all("rectangle", "fill") if s.box[2] < label.x), key=lambda s: s.x)
            assert question.answer == yes_no(any(box.touches(tick) for tick in ticks))
    assert receipts > 50
    assert forms > 20


@pytest.mark.parametrize("style", STYLES)
def test_tables_timetables_and_calendars(style: Style) -> None:
    entries = weekdays = items = 0
    for drawing in drawings("tables", style=style):
        texts = drawing.all("text")
        (cell,) = drawing.all("block", "cell")
        (bar,) = drawing.all("block", "box")
        names = [s for s in texts if bar.holds(s)]
        for question in drawing.questions("marked"):
            assert [question.answer] == [s.name for s in texts if cell.holds(s)]
        for question in drawing.questions("colour"):
            assert question.answer == cell.colour
        for question in drawing.questions("weekday"):
            weekdays += 1
            (number,) = [s for s in texts if s.name == number_in(question.text)]
            assert question.answer == nearest(names, x=number.x).name
        edge = max(texts, key=lambda s: s.x).x if style.unseen_layout else min(texts, key=lambda s: s.x).x
        rows = [s for s in texts if abs(s.x - edge) < 6 and s not in names]
        for question in drawing.questions("entry"):
            entries += 1
            row = next(s for s in rows if s.name in named(question.text, {r.name for r in rows}))
            column = next(s for s in names if s.name in named(question.text, {n.name for n in names}))
            cells = [s for s in texts if s not in rows and s not in names]
            assert question.answer == nearest(cells, x=column.x, y=row.y).name
        for question in drawing.questions("item"):
            items += 1
            bus = next(s for s in names if s.name == "bus")
            below = [s for s in numbers(drawing) if abs(s.x - bus.x) < 8 and s not in names]
            (number,) = [s for s in below if s.name == number_in(question.text)]
            assert question.answer == nearest(rows, y=number.y).name
        for question in drawing.questions("count"):
            assert question.answer == str(len(rows))
        for question in drawing.questions("exists"):
            word = question.text.rstrip("?.").split(" a row for ")[1].split()[0]
            assert question.answer == yes_no(word in {s.name for s in rows})
    assert min(entries, weekdays, items) > 10


def test_shelves() -> None:
    for drawing in drawings("shelves"):
        boxes = drawing.all("block", "box")
        on = {s.name: next(b for b in boxes if b.holds(s)) for s in words(drawing)}
        price = {
            name: min((s for s in numbers(drawing) if s.y > box.y), key=lambda s: abs(s.x - box.x) + s.y).name
            for name, box in on.items()
        }
        for question in drawing.questions("value"):
            assert price[named(question.text, GOODS)[0]] == question.answer
        for question in drawing.questions("item"):
            assert price[question.answer] == number_in(question.text)
        for question in drawing.questions("colour"):
            assert on[named(question.text, GOODS)[0]].colour == question.answer
        for question in drawing.questions("read"):
            assert on[question.answer].colour == named(question.text, COLOURS)[0]
        for question in drawing.questions("exists"):
            assert question.answer == yes_no(named(question.text, GOODS)[0] in on)
        for question in drawing.questions("count"):
            assert question.answer == str(len(boxes))


def test_boards() -> None:
    for drawing in drawings("boards"):
        row = {
            s.name: (
                nearest(numbers(drawing), y=s.y).name,
                nearest((w for w in words(drawing) if w.name in DAYS), y=s.y).name,
                nearest(drawing.all("block", "box"), y=s.y).colour,
            )
            for s in words(drawing)
            if s.name in CITIES
        }
        for kind, place in (("value", 0), ("day", 1), ("colour", 2)):
            for question in drawing.questions(kind):
                assert row[named(question.text, CITIES)[0]][place] == question.answer
        for question in drawing.questions("item"):
            assert row[question.answer][0] == number_in(question.text)
        for question in drawing.questions("exists"):
            assert question.answer == yes_no(named(question.text, CITIES)[0] in row)
        for question in drawing.questions("count"):
            assert question.answer == str(len(row))
