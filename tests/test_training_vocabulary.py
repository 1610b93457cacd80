from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.routing import outcomes
from training.fit import build_spec
from training.vocabulary import choose_words, n_words, told_by


def test_words_are_chosen_for_what_they_tell() -> None:
    table = outcomes(300)
    words, bigrams = choose_words(table.question_tokens, table.scores, k=6)
    assert {100, 103} <= set(words)  # the easiest kind of question and the hardest
    assert 1 not in words  # in every question
    assert list(words) == sorted(words)
    assert list(bigrams) == sorted(bigrams)
    assert len(words) + len(bigrams) == 6


def test_words_are_chosen_for_what_a_scale_adds_too() -> None:
    # Word 5 makes the answer hard at every scale, word 6 only needs the second one; word 6 is the rarer one.
    rows = [np.array([5 + 2 * (i % 3), 6 + 4 * (i % 7 > 0)], np.int32) for i in range(210)]
    scores = np.array([[i % 3 > 0, i % 3 > 0] for i in range(210)], np.float64)
    scores[::7, 0] = 0.0
    assert choose_words(rows, scores[:, 1:], k=1)[0] == (5,)
    assert choose_words(rows, np.diff(scores, axis=1), k=1)[0] == (6,)
    assert told_by(scores).tolist()[7] == [0.0, 1.0, 1.0]
    assert {5, 6} <= set(choose_words(rows, told_by(scores), k=3)[0])


def test_a_router_looks_at_as_many_words_as_its_pairs_bear(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[tuple[int, ...], int]] = []

    def spy(questions: Any, targets: Any, k: int) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
        asked.append((targets.shape, k))
        return (), ()

    monkeypatch.setattr("training.fit.choose_words", spy)
    monkeypatch.setattr("training.fit.n_words", lambda pairs: 10 * pairs)
    table = outcomes(60)
    build_spec(table)
    assert asked == [((len(table), 2 * len(table.scales) - 1), 10 * len(table))]


def test_more_pairs_bear_more_words() -> None:
    assert [n_words(pairs) for pairs in (0, 5_000, 20_000, 62_500)] == [128, 128, 200, 512]


def test_words_that_always_come_together_are_taken_once() -> None:
    rows = [np.array([5, 6, 7] if i % 2 else [8], np.int32) for i in range(100)]
    targets = np.array([[float(i % 2)] for i in range(100)])
    words, bigrams = choose_words(rows, targets, k=10, min_count=5)
    assert words == (5, 8)
    assert bigrams == ()
