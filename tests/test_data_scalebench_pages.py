"""Answers of the family `pages` worked out from the words that were set."""

from __future__ import annotations

import re

import numpy as np
import pytest

from data.scalebench.style import Style
from data.scalebench.vocabulary import COLOURS
from tests.scalebench_drawings import UNSEEN_LAYOUT, Drawing, Stroke, drawings, named

STYLES = [Style(), UNSEEN_LAYOUT]


def heading(drawing: Drawing) -> Stroke:
    """The word at the top of the page, or at its foot where that is the layout."""
    words = [s for s in drawing.all("text") if not s.name.isdigit()]
    if drawing.painting.style.unseen_layout:
        return max(words, key=lambda s: s.box[3])
    return min(words, key=lambda s: s.box[1])


def text(drawing: Drawing) -> list[Stroke]:
    """The words of the text, without heading and page number."""
    top = heading(drawing)
    return [s for s in drawing.all("text") if s is not top and not s.name.isdigit()]


def columns(drawing: Drawing) -> list[list[Stroke]]:
    """The words of each column, from the left; between columns is white that no space is as wide as."""
    wide = drawing.questions("exists")[0].difficulty["height"]
    found: list[list[Stroke]] = []
    for word in sorted(text(drawing), key=lambda s: s.box[0]):
        if found and word.box[0] < max(s.box[2] for s in found[-1]) + 1.1 * wide:
            found[-1].append(word)
        else:
            found.append([word])
    return found


def first(words: list[Stroke]) -> str:
    """The leftmost word of the first line."""
    line = min(round(s.y) for s in words) + 8
    return min((s for s in words if s.y < line), key=lambda s: s.x).name


@pytest.mark.parametrize("style", STYLES)
def test_heading_and_number_are_those_of_the_page(style: Style) -> None:
    for drawing in drawings("pages", style=style):
        (number,) = (s.name for s in drawing.all("text") if s.name.isdigit())
        for question in drawing.questions("heading"):
            assert question.answer == heading(drawing).name
        for question in drawing.questions("number"):
            assert question.answer == number


@pytest.mark.parametrize("style", STYLES)
def test_a_word_is_on_the_page_or_not(style: Style) -> None:
    for drawing in drawings("pages", style=style):
        written = {s.name for s in drawing.all("text")}
        answers = set()
        for question in drawing.questions("exists"):
            word = re.findall(r"\bword (\w+)", question.text)[0]
            assert question.answer == ("yes" if word in written else "no"), question
            answers.add(question.answer)
        assert answers == {"yes", "no"}


def test_columns_and_first_words_follow_the_setting() -> None:
    seen = set()
    for drawing in drawings("pages"):
        set_in = columns(drawing)
        names = {1: ["whole"], 2: ["left", "right"], 3: ["left", "centre", "right"]}[len(set_in)]
        for question in drawing.questions("column"):
            column = set_in[names.index(question.answer)]
            assert named(question.text, (s.name for s in column)), question
        for question in drawing.questions("first"):
            side = named(question.text, ("left", "centre", "right"))
            if side:
                assert question.answer == first(set_in[names.index(side[0])]), question
            elif "paragraph" not in question.text:
                assert question.answer == first(set_in[0]), question
            else:
                assert question.answer == last_paragraph(text(drawing)), question
                seen.add("paragraph")
        seen.add(str(len(set_in)))
    assert seen == {"1", "2", "3", "paragraph"}


def last_paragraph(words: list[Stroke]) -> str:
    """The first word below the last gap between lines that is wider than the others."""
    lines = sorted({round(s.box[3] / 4): s.box[3] for s in words}.values())
    lows = [lines[0]]
    for low in lines:  # letters like g reach further down: one line, though not one height
        if low - lows[-1] > 8:
            lows.append(low)
    steps = np.diff(lows)
    start = lows[max(k for k, step in enumerate(steps) if step > 1.25 * np.quantile(steps, 0.25)) + 1]
    return min((s for s in words if abs(s.box[3] - start) < 8), key=lambda s: s.x).name


def test_what_stands_out_is_drawn_as_the_question_says() -> None:
    seen = set()
    for drawing in drawings("pages"):
        for question in drawing.questions("marked"):
            word = drawing.word(question.answer)
            (way,) = named(question.text, (*COLOURS, "underlined", "framed", "highlighted"))
            if way in COLOURS:
                assert word.colour == way
                assert sum(s.colour == way for s in text(drawing)) == 1
            elif way == "underlined":
                below = [s for s in drawing.all("line") if abs(s.box[0] - word.box[0]) < 3]
                assert any(-4 < s.y - word.box[3] < 6 for s in below)
            else:
                around = drawing.all(*{"framed": ("rectangle",), "highlighted": ("block", "cell")}[way])
                (box,) = around
                assert [s.name for s in text(drawing) if box.holds(s)] == [word.name]
            seen.add(way)
    assert {"underlined", "framed", "highlighted", "red"} <= seen


@pytest.mark.parametrize("style", STYLES)
def test_words_are_set_once_without_touching_and_within_the_page(style: Style) -> None:
    counts = []
    for drawing in drawings("pages", 160, style):
        words = drawing.all("text")
        assert len({s.name for s in words}) == len(words)
        for k, one in enumerate(words):
            assert min(one.box[:2]) >= 0
            assert one.box[2] <= drawing.painting.canvas.width
            assert one.box[3] <= drawing.painting.canvas.height
            assert not any(one.touches(other, -0.5) for other in words[:k])
        counts.append(len(text(drawing)))
    assert min(counts) < 12
    assert max(counts) > 60


def test_difficulty_is_the_height_of_letters_and_the_number_of_words() -> None:
    for drawing in drawings("pages"):
        canvas = drawing.painting.canvas
        for question in drawing.questions("exists", "first", "marked"):
            assert question.difficulty["n"] == len(text(drawing))
            word = drawing.word(text(drawing)[0].name)
            wide = canvas.text_size(word.name, question.difficulty["height"])[0]
            assert word.box[2] - word.box[0] == pytest.approx(wide, abs=2)
