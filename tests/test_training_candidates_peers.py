from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from data.records import OutcomeTable
from tests.routing import SCALES, half, outcomes
from training.candidates import candidates
from training.candidates.avg_llava import AvgLlava, avg_llava_routed, published_flops
from training.candidates.base import Charged, Examples, Frontier
from training.candidates.budget import Budget
from training.candidates.cares import Cares, cares_routed, encoder_flops, enough, round_up
from training.candidates.granularity_router import ranking_loss
from training.candidates.peers import answer_losses, softmax
from training.candidates.vir import ViR, significant, vir_routed
from training.evaluation.frontier import hull_accuracy, path_accuracy
from training.evaluation.settings import Settings
from training.fit import build_spec

QUICK = Budget(grid=({"learning_rate": 1e-2, "weight_decay": 0.1},), folds=2, epochs=30, patience=8)

PEERS: tuple[Callable[[], Any], ...] = (AvgLlava, avg_llava_routed, Cares, cares_routed, ViR, vir_routed)
NAMES = ("avg_llava", "avg_llava_routed", "cares", "cares_routed", "vir", "vir_routed")


def seen(table: OutcomeTable) -> OutcomeTable:
    """``table``, with the image's detail to be seen in its pooled tokens too."""
    return replace(table, pooled=half(table.pooled + 3 * table.grid_stats[:, :1, None]))


@cache
def train() -> OutcomeTable:
    return seen(outcomes(250))


@cache
def tune() -> OutcomeTable:
    return seen(outcomes(80, split="tune"))


@cache
def dev() -> OutcomeTable:
    return seen(outcomes(150, split="dev"))


def examples(table: OutcomeTable, name: str) -> Examples:
    return Examples.of(table, build_spec(train(), candidate(name).groups))


def candidate(name: str) -> Any:
    (found,) = [make() for make in PEERS if make().name == name]
    return replace(found, budget=QUICK)


def fit(name: str, seed: int = 0) -> Any:
    return candidate(name).fit(examples(train(), name), seed=seed, threads=1)


@cache
def fitted(name: str) -> Any:
    return fit(name)


@cache
def frontier(name: str) -> tuple[Settings, Settings]:
    fitted_ = fitted(name)
    assert isinstance(fitted_, Frontier)
    return fitted_.frontier(examples(tune(), name), examples(dev(), name))


def path(settings: Settings, table: OutcomeTable) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean visual tokens and accuracy of each setting."""
    rows = np.arange(len(table))
    tokens = [table.visual_tokens[rows, choice].mean() for choice in settings.choices]
    return np.array(tokens), np.array([table.scores[rows, choice].mean() for choice in settings.choices])


@pytest.mark.parametrize("name", NAMES)
def test_a_peer_beats_mixing_at_random_on_images_that_it_has_not_seen(name: str) -> None:
    # What ViR refuses at the smallest scale it mostly refuses at all below the full one.
    table, at = dev(), np.array([300.0, 400.0] if name.startswith("vir") else [40.0, 90.0])
    fixed = table.visual_tokens.mean(axis=0), table.scores.mean(axis=0)
    gain = path_accuracy(*path(frontier(name)[1], table), at) - hull_accuracy(*fixed, at)
    assert gain.mean() > 0.01


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_the_same_on_both_tables_and_rise_in_cost(name: str) -> None:
    on_tune, on_dev = frontier(name)
    assert on_tune.name == on_dev.name == name
    assert on_tune.targets == on_dev.targets
    assert on_dev.choices.shape == (len(on_dev.targets), len(dev()))
    assert on_dev.choices.min() >= 0
    assert on_dev.choices.max() < len(SCALES)
    tokens, _ = path(on_tune, tune())
    assert (np.diff(tokens) > 0).all()
    assert tokens[0] < 9  # from almost all at the smallest scale ...
    assert len(tokens) > 5


@pytest.mark.parametrize("name", ["cares", "vir"])
def test_a_knob_reaches_both_ends_of_the_ladder(name: str) -> None:
    tokens, _ = path(frontier(name)[0], tune())
    assert (tokens[0], tokens[-1]) == (1.0, 576.0)


@pytest.mark.parametrize("name", NAMES)
def test_predictions_are_probabilities_for_every_scale(name: str) -> None:
    predictions = fitted(name).predict(examples(dev(), name))
    for head in (predictions.sufficient, predictions.score):
        assert head.dtype == np.float32
        assert head.shape == (len(dev()), len(SCALES))
        assert head.min() >= 0
        assert head.max() <= 1
    assert not predictions.novelty.any()


@pytest.mark.parametrize("name", NAMES)
def test_a_peer_depends_on_its_seed_alone(name: str) -> None:
    small = Examples.of(seen(outcomes(40)), build_spec(train(), candidate(name).groups))
    hasty = replace(candidate(name), budget=replace(QUICK, epochs=2))
    one, two, other = (
        hasty.fit(small, seed=seed, threads=threads).predict(small).score
        for seed, threads in ((0, 1), (0, 2), (1, 1))
    )
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_no_choice_depends_on_the_labels_of_the_tables_it_is_made_for(name: str) -> None:
    data = examples(dev(), name)
    blind = replace(data, table=replace(data.table, scores=np.zeros_like(data.table.scores)))
    assert np.array_equal(
        fitted(name).frontier(examples(tune(), name), blind)[1].choices, frontier(name)[1].choices
    )


def test_a_right_answers_loss_per_token_is_its_own_and_a_wrong_one_leaves_little_to_the_reference() -> None:
    table = outcomes(2, 1)
    p = np.array([[0.9, 0.9, 0.3, 0.3, 1.0], [0.9] * 5])
    right = np.array([[1.0, 0.0, 1.0, 0.0, 1.0], [0.5] * 5])
    # Two tokens an answer: the mean log-probability is half the answer's.
    changed = replace(table, mean_logprob=(np.log(p) / 2).astype(np.float32), scores=right)
    losses = answer_losses(changed)
    wanted = [-math.log(x) / 2 for x in (0.9, 0.1, 0.3, 0.3, 0.99)]
    assert losses[0] == pytest.approx(wanted, abs=1e-4)
    assert losses[1, 0] == pytest.approx((wanted[0] + wanted[1]) / 2, abs=1e-4)


def test_avg_llavas_loss_is_least_for_logits_in_the_order_of_the_losses() -> None:
    losses = torch.tensor([[0.1, 0.1, 2.0]])
    ranked, reversed_ = torch.tensor([[3.0, 2.0, -9.0]]), torch.tensor([[-9.0, 2.0, 3.0]])
    assert float(ranking_loss(ranked, losses)) < float(ranking_loss(reversed_, losses))
    # Margins that are kept cost nothing: what is left is a tenth of the cross-entropy to the first scale.
    expected = -0.1 * float(ranked.log_softmax(dim=1)[0, 0])
    assert float(ranking_loss(ranked, losses)) == pytest.approx(expected)


def test_cares_labels_by_sufficiency_without_a_better_scale_above() -> None:
    scores = np.array(
        [
            [1, 1, 1, 1, 1],
            [0, 0, 1, 0, 1],
            [0.86, 0.9, 1.0, 0.2, 0.2],  # the first is beaten by 0.14, the second by no more than 0.1
            [0.8, 0.8, 0.8, 0.8, 0.8],  # never 0.85
            [0, 0, 0, 0, 0],
        ],
        np.float64,
    )
    assert enough(scores).tolist() == [0, 2, 1, 4, 4]


def test_cares_rounds_up_to_a_scale_that_there_is() -> None:
    sides = np.sqrt(SCALES)
    wanted = np.array([0.2, 1.0, 1.1, 3.0, 12.0, 12.1, 24.0, 99.0])
    assert round_up(wanted, sides).tolist() == [0, 0, 1, 1, 3, 4, 4, 4]


def test_vir_knows_significant_losses_on_images_that_it_has_not_seen() -> None:
    labels = significant(answer_losses(dev())) > 0
    for name in ("vir", "vir_routed"):
        p = fitted(name).significance(examples(dev(), name))
        assert p[labels].mean() > p[~labels].mean() + 0.2


def test_vir_calls_a_loss_significant_when_its_ratio_is_above_the_median() -> None:
    losses = np.array([[4, 2, 1], [1, 1, 1], [1, 1, 1]], np.float32)
    assert significant(losses).tolist() == [[1, 1], [0, 0], [0, 0]]


def test_what_runs_beside_the_backbone_is_charged_and_route_inputs_are_free() -> None:
    table = train()
    for name, published in (("cares", encoder_flops(table)), ("avg_llava", published_flops(table))):
        fitted_ = fitted(name)
        assert isinstance(fitted_, Charged)
        own = fitted(f"{name}_routed").charge["flops_7b"]  # of the network alone: route inputs are free
        assert 0 < own < 1e-4 * published
        assert published <= fitted_.charge["flops_7b"] < 1.0001 * published
        assert frontier(name)[1].charge == fitted_.charge
        # Of a request at the full scale the backbone's charge is the share that the 7B model's is.
        assert 0 < fitted_.charge["flops"] < 0.1 * table.flops[:, -1].mean()
    assert 0.1e12 < encoder_flops(table) < 0.4e12


def test_the_peers_are_candidates_in_both_their_forms() -> None:
    assert set(NAMES) <= {each.name for each in candidates()}


def test_softmax_of_large_logits_is_a_number() -> None:
    assert softmax(np.array([[1000.0, 0.0]])).tolist() == [[1.0, 0.0]]
