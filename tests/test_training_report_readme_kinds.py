"""What can and cannot be answered: the rule by kind of question."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from data.records import OutcomeTable
from tests.reporting import make_table
from training.report.readme import ReadmeError
from training.report.readme_kinds import Kind, found_kinds, kinds


def kind(guess: float, *accuracy: float) -> Kind:
    return Kind("family", "kind", "Which?", 100, guess, accuracy)


@pytest.mark.parametrize(
    ("guess", "accuracy", "group"),
    [
        (0.5, (0.5, 0.5), "hardly"),
        (0.5, (0.749, 0.7), "hardly"),
        (0.5, (0.2, 0.75), "mostly"),
        (0.6, (0.84, 0.8), "hardly"),  # right often, and yet hardly more often than by guessing
        (0.0, (0.249, 0.1), "hardly"),
        (0.0, (0.1, 0.25), "in part"),
        (0.1, (0.74, 0.1), "in part"),
        (0.1 + 0.2, (0.55, 0.0), "in part"),  # 0.3 + 0.25 in binary fractions is a little more than 0.55
    ],
)
def test_the_group_is_of_the_best_scale_and_of_guessing(
    guess: float, accuracy: tuple[float, ...], group: str
) -> None:
    assert kind(guess, *accuracy).group == group


def answering(table: OutcomeTable, split: str, answers: tuple[str, ...], scores: float) -> OutcomeTable:
    """``table`` with these right answers in turn, and all scores alike."""
    n = len(table)
    return dataclasses.replace(
        table,
        manifest={**table.manifest, "split": split},
        references=tuple((answers[i % len(answers)],) for i in range(n)),
        families=np.full(n, "text"),
        kinds=np.full(n, "read"),
        scores=np.full((n, 5), scores),
    )


def test_guessing_is_the_commonest_answer_of_the_other_table() -> None:
    table = make_table("dev", 8, 1)  # 24 questions
    learned = answering(table, "router-train", ("no", "yes", "no"), 1.0)
    shown = answering(table, "dev", ("yes", "yes", "yes", "no"), 0.5)
    (found,) = found_kinds(shown, learned)
    assert (found.family, found.name, found.n) == ("text", "read", 24)
    assert found.example == shown.questions[0]
    assert found.guess == pytest.approx(0.25)  # of "no", which is commonest where guesses are learned
    assert found.accuracy == (0.5,) * 5
    assert found.group == "in part"


def test_all_kinds_are_shown_with_their_figures_and_the_rule() -> None:
    shown, learned = make_table("dev", 60, 1), make_table("router-train", 60, 2)
    text = kinds(shown, learned)
    assert "25 points above guessing" in " ".join(text.split())
    assert "`router-train`" in text
    for found in found_kinds(shown, learned):
        cells = " | ".join(f"{value:.2f}" for value in found.accuracy)
        assert f"| {found.family}/{found.name} | " in text
        assert f" | {found.n} | {found.guess:.2f} | {cells} |" in text
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {found.family} |")]
        assert found.name in row.split(" | ")[1 + ("mostly", "in part", "hardly").index(found.group)]
    assert text.index("<details>") < text.index("All kinds") < text.index("</details>")


def test_questions_that_name_options_count_with_those_that_do_not() -> None:
    table = make_table("dev", 8, 1)  # 24 questions
    learned = answering(table, "tune", ("no",), 1.0)
    shown = answering(table, "dev", ("yes", "no"), 1.0)
    half = dataclasses.replace(shown, kinds=np.where(np.arange(24) < 6, "read-choice", "read"))
    assert found_kinds(half, learned) == found_kinds(shown, learned)


def test_a_kind_that_guesses_were_not_learned_for_is_refused() -> None:
    table = make_table("dev", 8, 1)
    shown = answering(table, "dev", ("yes",), 1.0)
    with pytest.raises(ReadmeError, match="no question of text/read"):
        found_kinds(shown, dataclasses.replace(shown, kinds=np.full(len(table), "other")))
