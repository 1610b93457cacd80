"""Each family of ScaleBench: its questions, wordings, difficulty, labels, and how far guessing goes."""

from __future__ import annotations

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from data.scalebench.families import FAMILIES, HELD_OUT, family
from data.scalebench.families.paint import CHOICE, LEAST, Painting, fresh
from data.scalebench.labels import GRID
from data.scalebench.picture import Question
from data.scalebench.scans import rows, scans
from data.scalebench.style import UNSEEN_FONTS, UNSEEN_SIZES, Style
from data.scalebench.vocabulary import ANSWERS, COLOURS, LABELS, PLACES, SHAPES, WORDS

ALL = (*FAMILIES, *HELD_OUT)
SHOWN = 120
UNSEEN = {
    "fonts": Style(fonts=UNSEEN_FONTS),
    "colours": Style(unseen_shades=True, unseen_layout=True),
    "wording": Style(unseen_wording=True),
    "aspect": Style(sizes=UNSEEN_SIZES, square=0.0),
}


@cache
def painted(name: str) -> tuple[Painting, ...]:
    return tuple(family(name).paint(random.Random(f"{name} {k}"), Style()) for k in range(SHOWN))


@cache
def asked(name: str) -> tuple[Question, ...]:
    return tuple(question for painting in painted(name) for question in painting.questions)


def plain(kind: str) -> str:
    return kind.removesuffix(CHOICE)


def skeleton(question: str) -> str:
    """The wording without options and without the words that depend on the picture."""
    words = re.findall(r"[a-z0-9]+", question.lower().split(" choose from ")[0])
    names = {*WORDS, *COLOURS, *SHAPES, *" ".join(PLACES).split(), "an"}
    return " ".join("_" if w in names or w.isdigit() else w for w in words)


@pytest.mark.parametrize("name", ALL)
def test_a_picture_has_at_least_five_questions_of_kinds_that_the_family_states(name: str) -> None:
    assert min(len(painting.questions) for painting in painted(name)) >= 5
    assert {plain(question.kind) for question in asked(name)} == set(family(name).KINDS)


@pytest.mark.parametrize("name", ALL)
def test_answers_come_from_the_closed_vocabulary_and_difficulty_is_recorded(name: str) -> None:
    for question in asked(name):
        assert question.answer in ANSWERS, question
        assert question.difficulty, question
        assert all(math.isfinite(value) and value >= 0 for value in question.difficulty.values()), question
    numbers = defaultdict(set)
    for question in asked(name):
        for measure, value in question.difficulty.items():
            numbers[measure].add(value)
    # Something moves continuously: many values, not a handful of levels.
    assert any(len(values) > SHOWN / 2 for values in numbers.values())


@pytest.mark.parametrize("name", ALL)
def test_letters_that_are_asked_for_can_be_read(name: str) -> None:
    heights = [q.difficulty["height"] for q in asked(name) if "height" in q.difficulty]
    if heights:
        assert min(heights) >= LEAST - 0.5
        assert np.mean(np.array(heights) < LEAST + 2) < 0.3


@pytest.mark.parametrize("name", ALL)
def test_the_last_wording_is_kept_back(name: str) -> None:
    used, kept = defaultdict(set), defaultdict(set)
    for question in asked(name):
        used[plain(question.kind)].add(skeleton(question.text))
    for k in range(30):
        painting = family(name).paint(random.Random(f"kept {name} {k}"), UNSEEN["wording"])
        for question in painting.questions:
            kept[plain(question.kind)].add(skeleton(question.text))
    everywhere = set().union(*used.values())
    for kind, wordings in kept.items():
        assert not wordings & everywhere, kind
    often = Counter(plain(question.kind) for question in asked(name))
    for kind, wordings in used.items():
        assert len(wordings) >= 3 or often[kind] < 20, kind


@pytest.mark.parametrize("name", ALL)
def test_answers_cannot_be_guessed_from_the_question_beyond_the_stated_rate(name: str) -> None:
    """Whoever sees questions and answers of half of the pictures answers those of the other half by the
    commonest answer to that very question, or else to that kind."""
    kinds = family(name).KINDS
    tally: defaultdict[str, list[bool]] = defaultdict(list)
    halves = [[q for p in painted(name)[k::2] for q in p.questions] for k in (0, 1)]
    for seen, judged in (halves, halves[::-1]):
        by_text, by_kind = _commonest(seen, "text"), _commonest(seen, "kind")
        for question in judged:
            guess = by_text.get(question.text, by_kind.get(question.kind))
            tally[question.kind].append(guess == question.answer)
    for kind, right in tally.items():
        rate = max(kinds[plain(kind)], 0.25 if kind.endswith(CHOICE) else 0.0)
        n = len(right)
        assert sum(right) <= n * rate + 3.5 * math.sqrt(n * rate * (1 - rate)) + 1, (kind, sum(right) / n)
    # Room to be 25 points above guessing.
    stated = [max(kinds[plain(q.kind)], 0.25 if q.kind.endswith(CHOICE) else 0.0) for q in asked(name)]
    assert np.mean(stated) < 0.45


def _commonest(questions: Sequence[Question], by: str) -> dict[str, str]:
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for question in questions:
        counts[getattr(question, by)][question.answer] += 1
    return {key: counter.most_common(1)[0][0] for key, counter in counts.items()}


@pytest.mark.parametrize("name", ALL)
def test_some_questions_name_four_options_of_which_one_is_right(name: str) -> None:
    choices = [q for q in asked(name) if q.kind.endswith(CHOICE)]
    assert 0.02 < len(choices) / len(asked(name)) < 0.25
    for question in choices:
        named = options_of(question)
        assert len(set(named)) == 4
        assert question.answer in named


@pytest.mark.parametrize("name", ALL)
def test_options_do_not_give_the_answer_away(name: str) -> None:
    """Neither by their order as numbers nor by being the only number or the only word."""
    by_rank: defaultdict[str, list[int]] = defaultdict(list)
    for question in asked(name):
        if question.kind.endswith(CHOICE):
            named = options_of(question)
            numbers = sorted(int(option) for option in named if option.isdigit())
            if len(numbers) == 4:
                by_rank[question.kind].append(numbers.index(int(question.answer)))
            assert len(numbers) in (0, 4), question
    for kind, ranks in by_rank.items():
        n = len(ranks)
        for rank in range(4):
            assert ranks.count(rank) <= 0.25 * n + 3.5 * math.sqrt(n * 0.25 * 0.75) + 1, (kind, rank, n)


def options_of(question: Question) -> list[str]:
    return question.text.split(" Choose from ")[1].removesuffix(".").replace(" or ", ", ").split(", ")


@pytest.mark.parametrize("name", ALL)
def test_questions_of_one_picture_differ_or_agree_on_the_answer(name: str) -> None:
    for painting in painted(name):
        answers: dict[str, str] = {}
        for question in painting.questions:
            assert answers.setdefault(question.text, question.answer) == question.answer


@pytest.mark.parametrize("name", ALL)
def test_facts_are_consistent_and_within_the_vocabulary(name: str) -> None:
    for painting in painted(name):
        facts: dict[str, str] = {}
        assert painting.look_ups
        for fact in painting.look_ups:
            assert facts.setdefault(fact.key, fact.value) == fact.value, fact
            assert fact.value in {*ANSWERS, "tick", "none"}, fact


@pytest.mark.parametrize("name", ALL)
def test_dense_labels_are_classes_of_their_heads_on_every_patch(name: str) -> None:
    for painting in painted(name)[:30]:
        canvas = painting.canvas
        labels = canvas.labels()
        assert set(labels) == set(LABELS)
        for head, values in labels.items():
            assert values.shape == (GRID, GRID)
            assert values.dtype == np.int16
            assert values.max() < LABELS[head]
            assert values.min() >= (-1 if head == "background" else 0)
        assert (labels["background"] == -1).any() == (canvas.width != canvas.height)
        assert (labels["kind"] > 0).any() or (labels["word"] > 0).any()


@pytest.mark.parametrize("name", ALL)
def test_descriptions_tell_the_whole_picture_then_its_cells_then_its_rows(name: str) -> None:
    for painting in painted(name)[:20]:
        (whole,) = painting.descriptions
        assert whole.prompt == "Describe the picture."
        assert whole.text == whole.text.lower()
        regions = painting.canvas.regions
        parts = [*scans(regions), *rows(regions, 6)]
        assert any(part.prompt == "List the 9 cells." for part in parts)
        for part in parts:
            listed = re.fullmatch(r"List the (9|36) (cells|colours)\.", part.prompt)
            if listed:
                assert len(part.text.split()) == int(listed[1])
            else:
                assert re.fullmatch(r"Row [1-6] of 6\.", part.prompt)


@pytest.mark.parametrize("shift", UNSEEN)
@pytest.mark.parametrize("name", ALL)
def test_a_family_can_be_drawn_in_every_style_that_is_kept_back(name: str, shift: str) -> None:
    style = UNSEEN[shift]
    for k in range(25):
        painting = family(name).paint(random.Random(f"{shift} {name} {k}"), style)
        assert len(painting.questions) >= 4
        assert {q.answer for q in painting.questions} <= ANSWERS
        assert painting.canvas.font in style.fonts
        heights = [q.difficulty["height"] for q in painting.questions if "height" in q.difficulty]
        assert min(heights, default=LEAST) >= LEAST - 0.5
        for region in painting.canvas.regions:  # nothing that is asked about lies outside the picture
            x0, y0, x1, y1 = region.box
            assert x0 > -4
            assert y0 > -4
            assert max(x1, y1) < 340, region


def test_an_unknown_family_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no family 'zebras'.*scenes.*shelves"):
        family("zebras")


def test_asking_needs_a_wording_to_keep_back() -> None:
    painting = fresh(random.Random(0), Style(), ["white"])
    with pytest.raises(ValueError, match="colour has 3 wordings"):
        painting.ask("colour", ("a?", "b?", "c?"), "red", n=1)


@pytest.mark.parametrize("name", ALL)
def test_the_documents_name_the_family_s_kinds(name: str) -> None:
    text = (Path(__file__).parents[1] / "docs" / "scalebench.md").read_text(encoding="utf-8")
    (row,) = (line for line in text.splitlines() if line.startswith(f"| `{name}`"))
    assert set(re.findall(r"`([a-z-]+)`", row.split("|")[4])) == set(family(name).KINDS)
    assert ("(held out)" in row) == (name in HELD_OUT)


@pytest.mark.parametrize("name", ALL)
def test_how_often_a_kind_is_asked(name: str) -> None:
    assert set(family(name).ASKED) <= set(family(name).KINDS)
    assert all(weight > 0 for weight in family(name).ASKED.values())
