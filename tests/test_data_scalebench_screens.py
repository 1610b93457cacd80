"""Answers of the family `screens` worked out from the parts of the window that were drawn."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from data.scalebench.style import UNSEEN_SIZES, Style
from data.scalebench.vocabulary import BUTTONS, COLOURS, SHAPES, WORDS
from tests.scalebench_drawings import UNSEEN_LAYOUT, Drawing, Stroke, drawings, named

STYLES = [Style(), UNSEEN_LAYOUT]


def title_bar(drawing: Drawing) -> Stroke:
    """The block as wide as the window."""
    wide = drawing.painting.canvas.width
    (bar,) = (s for s in drawing.all("block", "box") if s.box[2] - s.box[0] > wide - 1)
    return bar


def menu(drawing: Drawing) -> Stroke:
    (found,) = (s for s in drawing.all("block", "box") if s is not title_bar(drawing))
    return found


def words_in(drawing: Drawing, box: Stroke) -> list[str]:
    return [s.name for s in drawing.all("text") if box.holds(s)]


def right_of(drawing: Drawing, left: Stroke) -> str:
    """The first word to the right on the same line."""
    line = [s for s in drawing.all("text") if s.box[1] < left.y < s.box[3] and s.x > left.x]
    return min(line, key=lambda s: s.x).name


def row_of_tabs(drawing: Drawing) -> list[Stroke]:
    """Blocks of equal width side by side are tabs; buttons are as wide as their words."""
    rows: dict[float, list[Stroke]] = {}
    for block in drawing.all("block", "button"):
        rows.setdefault(block.box[1], []).append(block)
    for row in rows.values():
        wide = {round(s.box[2] - s.box[0], 1) for s in row}
        ends = [s.box[2] for s in row[:-1]]
        if (
            len(row) > 1
            and len(wide) == 1
            and all(abs(end - s.box[0]) < 3 for end, s in zip(ends, row[1:], strict=True))
        ):
            return row
    return []


@pytest.mark.parametrize("style", STYLES)
def test_a_button_that_is_asked_about_has_its_colour_and_its_word_to_itself(style: Style) -> None:
    says = colours = 0
    for drawing in drawings("screens", 150, style):
        for question in drawing.questions("says"):
            (colour,) = named(question.text, COLOURS)
            (block,) = (s for s in drawing.all("block", "button") if s.colour == colour)
            assert words_in(drawing, block) == [question.answer], question
            says += 1
        for question in drawing.questions("colour"):
            if " button" in question.text:
                (word,) = (w for w in named(question.text, BUTTONS) if f"{w} button" in question.text)
                drawing.word(word)  # there is one
                colours += 1
    assert min(says, colours) > 20


def buttons(drawing: Drawing, word: str) -> list[Stroke]:
    known = row_of_tabs(drawing)
    return [s for s in drawing.all("block", "button") if s not in known and words_in(drawing, s) == [word]]


def words_in_buttons(drawing: Drawing, colour: str) -> list[str]:
    known = row_of_tabs(drawing)
    found = [s for s in drawing.all("block", "button") if s not in known and s.colour == colour]
    return [word for s in found for word in words_in(drawing, s)]


@pytest.mark.parametrize("style", STYLES)
def test_the_title_is_the_word_in_the_bar(style: Style) -> None:
    for drawing in drawings("screens", style=style):
        bar = title_bar(drawing)
        for question in drawing.questions("title"):
            assert [question.answer] == words_in(drawing, bar)
        at_the_foot = bar.box[3] == pytest.approx(drawing.painting.canvas.height)
        assert at_the_foot == style.unseen_layout


@pytest.mark.parametrize("style", STYLES)
def test_colours_are_those_of_bar_menu_and_buttons(style: Style) -> None:
    seen = set()
    for drawing in drawings("screens", style=style):
        for question in drawing.questions("colour"):
            if "title bar" in question.text:
                part = title_bar(drawing)
            elif "the menu?" in question.text or "the menu have" in question.text:
                part = menu(drawing)
            else:
                (word,) = named(question.text, BUTTONS)
                (part,) = buttons(drawing, word)
            assert question.answer == part.colour, question
            seen.add(part.name)
        for question in drawing.questions("says"):
            (colour,) = named(question.text, COLOURS)
            assert question.answer in words_in_buttons(drawing, colour), question
    assert seen == {"box", "button"}


@pytest.mark.parametrize("style", STYLES)
def test_the_selected_tab_is_the_one_that_differs(style: Style) -> None:
    lined = coloured = 0
    for drawing in drawings("screens", style=style):
        for question in drawing.questions("tab"):
            lines = drawing.all("block", "marker")
            if lines:
                over = [s for s in drawing.all("text") if lines[0].box[0] < s.x < lines[0].box[2]]
                above = max((s for s in over if s.y < lines[0].y), key=lambda s: s.y)
                assert above.name == question.answer
                lined += 1
            else:
                row = row_of_tabs(drawing)
                (chosen,) = (s for s in row if words_in(drawing, s) == [question.answer])
                others = {s.colour for s in row if s is not chosen}
                assert len(others) == 1
                assert chosen.colour not in others
                coloured += 1
    assert lined > 5
    assert coloured > 5


@pytest.mark.parametrize("style", STYLES)
def test_fields_hold_their_values_and_icons_their_numbers(style: Style) -> None:
    asked: Counter[str] = Counter()
    for drawing in drawings("screens", style=style):
        for question in drawing.questions("field"):
            (label,) = named(question.text, ("name", "city", "day", "age", "item"))
            assert question.answer == right_of(drawing, drawing.word(label)), question
            asked["field"] += 1
        for question in drawing.questions("badge"):
            (shape,) = named(question.text, SHAPES)
            (icon,) = drawing.all("shape", shape)
            numbers = [s for s in drawing.all("text") if s.name.isdigit() and s.x > icon.x]
            nearest = min(numbers, key=lambda s: abs(s.x - icon.x) + abs(s.y - icon.y))
            assert question.answer == nearest.name, question
            asked["badge"] += 1
    assert min(asked["field"], asked["badge"]) > 30


def test_a_box_is_ticked_when_a_tick_is_drawn_in_it() -> None:
    answers = []
    for drawing in drawings("screens"):
        ticked = {right_of(drawing, tick) for tick in drawing.all("block", "tick")}
        for question in drawing.questions("ticked"):
            (word,) = named(question.text, WORDS)
            assert question.answer == ("yes" if word in ticked else "no"), question
            answers.append(word in ticked)
    assert 0.3 < np.mean(answers) < 0.7


@pytest.mark.parametrize("style", STYLES)
def test_the_menu_lists_what_it_is_said_to_list(style: Style) -> None:
    answers: Counter[str] = Counter()
    for drawing in drawings("screens", style=style):
        for question in drawing.questions("exists"):
            entries = words_in(drawing, menu(drawing))
            asked = named(re.sub(r"(in )?the menu", "", question.text), WORDS)
            assert question.answer == ("yes" if asked[0] in entries else "no"), question
            answers[question.answer] += 1
        if drawing.questions("exists"):
            right = menu(drawing).box[0] > 1
            assert right == style.unseen_layout
    assert answers["yes"] == answers["no"] > 10


@pytest.mark.parametrize("style", [*STYLES, Style(sizes=UNSEEN_SIZES, square=0.0)])
def test_words_do_not_touch_and_stay_within_the_window(style: Style) -> None:
    for drawing in drawings("screens", style=style):
        canvas, words = drawing.painting.canvas, drawing.all("text")
        for k, one in enumerate(words):
            assert min(one.box[:2]) >= -0.5
            assert one.box[2] <= canvas.width + 0.5
            assert one.box[3] <= canvas.height + 0.5
            assert not any(one.touches(other, -0.5) for other in words[:k]), (one, words[:k])
        for shape in drawing.all("shape"):
            assert not any(shape.touches(word, -1) for word in words)
