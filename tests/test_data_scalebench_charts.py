"""Answers of charts worked out from what was drawn."""

from __future__ import annotations

import pytest

from data.scalebench.style import Style
from data.scalebench.vocabulary import COLOURS, GOODS, WORDS
from tests.scalebench_drawings import drawings, named
from tests.test_data_scalebench_answers import STYLES, nearest, numbers, words, yes_no


@pytest.mark.parametrize("style", STYLES)
def test_bar_and_line_charts(style: Style) -> None:
    values = 0
    for drawing in drawings("charts", style=style):
        bars, points = drawing.all("block", "bar"), drawing.all("block", "marker")
        legend = {
            box.colour: nearest((s for s in words(drawing) if s.box[0] > box.x), y=box.y).name
            for box in drawing.all("block", "box")
        }
        for question in drawing.questions("type"):
            assert question.answer == ("bar" if bars else "line" if points else "pie")
        lying = bool(bars) and style.unseen_layout
        heading = (max if style.unseen_layout else min)(words(drawing), key=lambda s: s.y)
        for question in drawing.questions("heading"):
            assert question.answer == heading.name
        if not bars and not points:  # a pie: what is left to check is its legend
            for question in drawing.questions("label"):
                assert legend[named(question.text, COLOURS)[0]] == question.answer
            for question in drawing.questions("colour"):
                assert legend[question.answer] in named(question.text, GOODS + WORDS)
            continue
        labels = [s for s in words(drawing) if s is not heading]
        size, at = {}, {}
        for mark in bars or points:
            near = nearest(labels, y=mark.y) if lying else nearest(labels, x=mark.x)
            name = legend.get(mark.colour) or near.name
            size[name] = mark.box[2] - mark.box[0] if lying else -mark.box[1]
            at[name] = mark
        for question in drawing.questions("value"):
            values += 1
            mark = at[next(n for n in named(question.text, size))]
            if lying:
                assert question.answer == nearest(numbers(drawing), y=mark.y).name
            else:
                assert question.answer == nearest(numbers(drawing), x=mark.x).name
        for question in drawing.questions("most"):
            assert question.answer == max(size, key=lambda n: size[n])
        for question in drawing.questions("more"):
            one, other = named(question.text, size)[:2]
            assert question.answer == yes_no(size[one] > size[other])
        for question in drawing.questions("label"):
            assert at[question.answer].colour == named(question.text, COLOURS)[0]
        for question in drawing.questions("colour"):
            asked = named(question.text, size)
            assert question.answer == (at[asked[0]].colour if asked else points[0].colour)
    assert values > 30


def test_charts_without_numbers_are_asked_about_only_where_the_difference_can_be_seen() -> None:
    asked = 0
    for drawing in drawings("charts"):
        if not numbers(drawing):
            for question in drawing.questions("most", "more"):
                assert question.difficulty["gap"] >= 4
                asked += 1
    assert asked > 10
