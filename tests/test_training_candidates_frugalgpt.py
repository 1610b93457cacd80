from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from data.records import OutcomeTable, long_texts
from tests.routing import SCALES, half, outcomes
from training.candidates import candidates
from training.candidates.base import Examples, Frontier
from training.candidates.frugalgpt import (
    ANSWERS,
    FittedFrugalGPT,
    FrugalGPT,
    frequent_answers,
    frugalgpt_routed,
    scorer_features,
)
from training.evaluation.frontier import hull_accuracy, path_accuracy
from training.evaluation.settings import Settings
from training.fit import build_spec

QUICK: dict[str, Any] = {"grid": ({"num_leaves": 7, "min_data_in_leaf": 20},), "folds": 2, "rounds": 120}


def telling(table: OutcomeTable) -> OutcomeTable:
    """``table`` with answers that are surer of themselves when right, though not always."""
    rng = np.random.default_rng(3)
    shape = table.scores.shape
    margin = np.where(table.scores > 0, rng.uniform(0.5, 1, shape), rng.uniform(0, 0.6, shape))
    return replace(table, first_margin=half(margin))


@cache
def split(name: str) -> OutcomeTable:
    return telling(outcomes({"router-train": 200, "tune": 100, "dev": 150}[name], split=name))


def examples(name: str, candidate: FrugalGPT) -> Examples:
    return Examples.of(split(name), build_spec(split("router-train"), candidate.groups))


@cache
def fitted(seed: int = 0) -> FittedFrugalGPT:
    candidate = FrugalGPT(**QUICK)
    return candidate.fit(examples("router-train", candidate), seed=seed, threads=1)


@cache
def frontier() -> tuple[Settings, Settings]:
    cascade = fitted()
    assert isinstance(cascade, Frontier)
    return cascade.frontier(examples("tune", FrugalGPT()), examples("dev", FrugalGPT()))


def path(settings: Settings, table: OutcomeTable) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean visual tokens, of all passes, and accuracy of each setting."""
    assert settings.tried is not None
    rows, tokens = np.arange(len(table)), table.visual_tokens
    spent = [
        (tokens[rows, choice] + (tried * tokens).sum(axis=1)).mean()
        for choice, tried in zip(settings.choices, settings.tried, strict=True)
    ]
    return np.array(spent), np.array([table.scores[rows, choice].mean() for choice in settings.choices])


def test_the_cascade_beats_mixing_at_random_on_images_that_it_has_not_seen() -> None:
    table, at = split("dev"), np.array([20.0, 60.0, 120.0])
    fixed = table.visual_tokens.mean(axis=0), table.scores.mean(axis=0)
    gain = path_accuracy(*path(frontier()[1], table), at) - hull_accuracy(*fixed, at)
    assert gain.mean() > 0.02


def test_reliability_is_a_probability_that_tells_right_answers_from_wrong_ones() -> None:
    data = examples("dev", FrugalGPT())
    sure = fitted().reliability(data)
    assert sure.shape == (len(data), len(SCALES))
    assert sure.min() >= 0
    assert sure.max() <= 1
    for s in range(4):
        right = data.scores[:, s] > 0
        assert (sure[right, s][:, None] > sure[~right, s]).mean() > 0.85
    assert np.array_equal(fitted().predict(data).score, sure.astype(np.float32))


def test_settings_are_learned_on_tune_and_every_earlier_pass_is_recorded() -> None:
    on_tune, on_dev = frontier()
    assert on_tune.targets == on_dev.targets
    assert path(on_tune, split("tune"))[0] == pytest.approx(np.array(on_tune.targets))
    assert list(on_tune.targets) == sorted(on_tune.targets)
    assert on_dev.tried is not None
    earlier = np.arange(len(SCALES)) < on_dev.choices[:, :, None]
    assert not (on_dev.tried & ~earlier).any()
    assert on_dev.passes.max() == 3


def test_no_choice_depends_on_the_labels_of_the_table_it_is_made_for() -> None:
    data = examples("dev", FrugalGPT())
    blind = replace(data, table=replace(data.table, scores=np.zeros_like(data.table.scores)))
    _, seen = fitted().frontier(examples("tune", FrugalGPT()), blind)
    assert np.array_equal(seen.choices, frontier()[1].choices)


def test_the_cascade_depends_on_its_seed_alone() -> None:
    data = examples("dev", FrugalGPT())
    again = FrugalGPT(**QUICK).fit(examples("router-train", FrugalGPT()), seed=0, threads=2)
    assert np.array_equal(again.reliability(data), fitted().reliability(data))
    assert not np.array_equal(fitted(1).reliability(data), fitted().reliability(data))


def test_the_scorer_reads_request_confidence_and_answer() -> None:
    table = split("tune")
    answers = long_texts(np.full(table.scores.shape, "yes").tolist())
    answers[:3, 2] = ["12.5", "Bottom right", "yes"]
    data = replace(examples("tune", FrugalGPT()), table=replace(table, answers=answers))
    read = scorer_features(data, 2, {"yes": 0, "bottom right": 1})
    request = data.features.shape[1]
    assert read.shape == (len(table), request + 4 + 3 + ANSWERS)
    assert read[0, request + 2] == table.first_margin[0, 2]
    assert read[:3, request + 4 : request + 9].tolist() == [
        [4, 1, 1, 0, 0],
        [12, 2, 0, 0, 1],
        [3, 1, 0, 1, 0],
    ]


def test_answers_are_known_by_how_often_they_were_given() -> None:
    table = split("tune")
    answers = long_texts(np.full(table.scores.shape, "yes").tolist())
    answers[0] = ["Red", "red", "blue", "a", "b"]
    assert list(frequent_answers(replace(table, answers=answers)))[:3] == ["yes", "red", "a"]


def test_both_forms_are_candidates_and_one_reads_our_route_inputs() -> None:
    assert {"frugalgpt", "frugalgpt_routed"} <= {each.name for each in candidates()}
    assert set(FrugalGPT().groups) < set(frugalgpt_routed().groups)
