"""No candidate searches longer than another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from training.candidates import candidates
from training.candidates.budget import EPOCHS, EPOCHS_PATIENCE, FOLDS, ROUNDS, SETTINGS


def searches(candidate: Any) -> Iterator[Any]:
    """The candidate, and whatever it is made of that searches too: a budget, members, two looks."""
    yield candidate
    for field in dataclasses.fields(candidate):
        value = getattr(candidate, field.name)
        for part in value if isinstance(value, tuple) else (value,):
            if dataclasses.is_dataclass(part) and not isinstance(part, type):
                yield from searches(part)


@pytest.mark.parametrize("candidate", candidates(), ids=lambda candidate: candidate.name)
def test_every_search_keeps_to_the_one_budget(candidate: Any) -> None:
    for each in searches(candidate):
        assert len(getattr(each, "grid", ())) <= SETTINGS
        assert len(getattr(each, "question_weights", ())) <= SETTINGS
        assert getattr(each, "folds", FOLDS) == FOLDS
        assert getattr(each, "rounds", ROUNDS) == ROUNDS
        assert getattr(each, "epochs", EPOCHS) == EPOCHS
        assert getattr(each, "patience", EPOCHS_PATIENCE) == EPOCHS_PATIENCE


def test_the_budget_is_looked_for_where_candidates_have_it() -> None:
    by_name = {candidate.name: list(searches(candidate)) for candidate in candidates()}
    for name in ("lightgbm_joint", "frugalgpt_routed", "vir", "avg_llava", "attention", "nearest_neighbours"):
        assert any(hasattr(each, "folds") for each in by_name[name]), name
    assert sum(hasattr(each, "grid") for each in by_name["hybrid"]) == 2
    assert sum(hasattr(each, "grid") for each in by_name["ensemble"]) == 2
