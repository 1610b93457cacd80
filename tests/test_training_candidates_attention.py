from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from data.records import OutcomeTable, RecordError
from router import Router
from tests.routing import QUESTION, ROWS, SCALES, WIDTH, half, outcomes, with_finer
from training.candidates.attention import Attention, Sizes, attention_fine
from training.candidates.base import Examples, Exportable, FittedLogits, log_loss, predictions
from training.candidates.budget import Budget
from training.candidates.lightgbm_per_scale import LightGBMPerScale
from training.edge_rows import edge_rows
from training.export import check_parity, export
from training.fit import FitResult, build_spec, fit


def quick(epochs: int = 3, **more: Any) -> Attention:
    budget = Budget(({"learning_rate": 5e-3, "weight_decay": 0.1},), folds=2, epochs=epochs, patience=epochs)
    few: dict[str, Any] = {"budget": budget, "dropout": 0.0, "sizes": Sizes(width=16, heads=2, hidden=16)}
    return Attention(**{**few, **more})


def asked_places(n_images: int, *, split: str = "router-train", seed: int = 0) -> OutcomeTable:
    """Each question asks for one place of the coarse picture; what is there decides which scale suffices.

    Neither the picture alone nor the question alone tells anything.
    """
    table = outcomes(n_images, split=split, seed=seed)
    rng = np.random.default_rng([seed, len(split)])
    n = len(table)
    pooled = rng.normal(size=(n_images, ROWS, WIDTH))
    pooled[:, :, 0] = np.where(rng.random((n_images, ROWS)) < 0.5, -1, 1)
    place = rng.integers(0, QUESTION, n)
    fine = pooled[table.image_index, 1 + place, 0] > 0
    right = np.where(np.arange(len(SCALES)) >= np.where(fine, 3, 0)[:, None], 0.95, 0.05)
    return replace(
        table,
        scores=(rng.random(right.shape) < right).astype(np.float64),
        mean_logprob=np.log(right).astype(np.float32),
        pooled=half(pooled),
        question=half(np.eye(QUESTION)[place] * 2),
        question_tokens=tuple(np.array([1, 50, 2], np.int32) for _ in place),
        grid_stats=half(np.zeros_like(table.grid_stats)),
    )


@cache
def small() -> FitResult:
    return fit(outcomes(120), outcomes(60, split="tune"), quick(epochs=8), threads=1)


@cache
def by_place() -> tuple[OutcomeTable, FittedLogits, Examples]:
    train = asked_places(400)
    spec = build_spec(train, Attention().groups)
    candidate = quick(epochs=80, sizes=Sizes(width=32, heads=2, hidden=32))
    fitted = candidate.fit(Examples.of(train, spec), seed=0, threads=2)
    return train, fitted, Examples.of(asked_places(100, split="dev"), spec)


def test_it_reads_the_place_that_the_question_asks_for_which_neither_input_alone_tells() -> None:
    train, fitted, dev = by_place()
    labels = dev.scores[:, :3]  # where place and question matter
    chance = log_loss(labels, np.tile(train.scores[:, :3].mean(axis=0), (len(dev), 1)))
    found = log_loss(labels, fitted.predict(dev).score[:, :3])
    assert found < chance - 0.3
    trees = LightGBMPerScale(grid=({"num_leaves": 15, "min_data_in_leaf": 20},), folds=2, rounds=60)
    by_trees = trees.fit(Examples.of(train, dev.spec), seed=0, threads=1).predict(dev)
    assert found < log_loss(labels, by_trees.score[:, :3]) - 0.1


def test_what_it_says_of_held_out_rows_comes_from_fits_that_had_not_seen_their_images() -> None:
    train, fitted, _ = by_place()
    assert fitted.held_out.shape == train.scores.shape
    held = log_loss(train.scores, 1 / (1 + np.exp(-fitted.held_out)))
    seen = log_loss(train.scores, fitted.predict(Examples.of(train, by_place()[2].spec)).score)
    assert seen < held
    assert fitted.notes["held_out_log_loss"] == pytest.approx(
        [log_loss(train.scores[:, c], 1 / (1 + np.exp(-fitted.held_out[:, c]))) for c in range(5)], abs=1e-4
    )


def test_the_answers_probabilities_are_a_task_of_their_own_that_is_not_exported() -> None:
    _, fitted, dev = by_place()
    assert isinstance(fitted, Exportable)
    assert fitted.logits.raw(dev.features).shape == (len(dev), 5)
    without = quick(answer_weight=0.0)
    with_it = quick()
    table = Examples.of(outcomes(40), build_spec(outcomes(40), without.groups))
    one, two = (c.fit(table, seed=0, threads=1).predict(table).score for c in (without, with_it))
    assert not np.array_equal(one, two)


def test_the_graph_equals_the_network_on_rows_never_seen_and_on_edge_values() -> None:
    _, fitted, dev = by_place()
    content = export(fitted.logits, None, dev.spec.width)
    assert check_parity(content, fitted.predict(dev), dev.features) < 5e-6
    edges = edge_rows(dev.features, content)
    assert len(edges) == 10_000
    check_parity(content, predictions(fitted.logits, edges), edges)


def test_it_makes_a_bundle_that_routes_and_the_same_seed_makes_the_same_one() -> None:
    result = small()
    assert result.worst_parity <= 1e-5
    assert result.bundle.candidate == "attention"
    assert [row.trees for row in result.scales] == [None] * 5
    assert result.bundle.provenance["weights"] > 1000
    router = Router.of(result.bundle)
    assert router.route(outcomes(3, split="dev").route_inputs(0)).scale in SCALES
    again = fit(outcomes(120), outcomes(60, split="tune"), quick(epochs=8), threads=2)
    assert again.bundle.version == result.bundle.version
    other = fit(outcomes(120), outcomes(60, split="tune"), quick(epochs=8), threads=1, seed=1)
    assert other.bundle.version != result.bundle.version


def test_soft_scores_and_a_tolerance_get_heads_of_their_own() -> None:
    train, tune = outcomes(100, soft=True), outcomes(60, split="tune", soft=True)
    result = fit(train, tune, quick(), threads=1, tolerance=0.1)
    found = Router.of(result.bundle).predict(result.bundle.features.matrix(tune))
    assert result.bundle.provenance["heads_shared"] is False
    assert (found.sufficient.mean(axis=0) > found.score.mean(axis=0)).all()


def test_features_without_a_question_are_refused_with_the_remedy() -> None:
    table = outcomes(40)
    examples = Examples.of(table, build_spec(table, ("pooled", "grid_stats")))
    with pytest.raises(ValueError, match=r"nothing of the question, which attention needs: add groups"):
        quick(groups=("pooled", "grid_stats")).fit(examples, seed=0, threads=1)


def test_without_a_picture_it_learns_what_it_reads_so_that_an_ablation_can_say_what_pictures_are_worth() -> (
    None
):
    groups = tuple(group for group in Attention().groups if group != "pooled")
    result = fit(outcomes(80), outcomes(40, split="tune"), quick(groups=groups), threads=1)
    assert result.worst_parity <= 1e-5
    assert "pooled" not in result.bundle.needs
    router, dev = Router.of(result.bundle), outcomes(6, split="dev")
    one = router.predict(result.bundle.features.matrix(dev)).score
    assert len(np.unique(one, axis=0)) > 1
    other = router.predict(result.bundle.features.matrix(replace(dev, pooled=-dev.pooled))).score
    assert np.array_equal(one, other)


def test_without_other_features_it_has_the_picture_and_the_question_alone() -> None:
    train, tune = outcomes(60), outcomes(40, split="tune")
    result = fit(train, tune, quick(groups=("pooled", "question")), threads=1)
    assert result.bundle.needs == ("pooled", "question")


def test_with_the_finer_tokens_it_attends_to_46_places_and_makes_a_bundle_that_routes() -> None:
    train, tune = with_finer(outcomes(80)), with_finer(outcomes(40, split="tune"))
    candidate = quick(groups=attention_fine().groups)
    result = fit(train, tune, candidate, threads=1)
    assert result.worst_parity <= 1e-5
    assert result.bundle.features.fine_rows == 36
    assert "fine" in result.bundle.needs
    router, inputs = Router.of(result.bundle), with_finer(outcomes(3, split="dev")).route_inputs(0)
    moved = replace(inputs, fine=inputs.fine[::-1].copy())
    one, other = (router.predict(result.bundle.features.vector(x)[None]).score for x in (inputs, moved))
    assert not np.array_equal(one, other)


def test_tables_without_the_finer_tokens_are_refused_with_the_remedy() -> None:
    train, tune = with_finer(outcomes(40)), outcomes(40, split="tune")
    for one, other in ((train, tune), (outcomes(40), with_finer(tune))):
        with pytest.raises(RecordError, match=r"no finer pooled tokens.*m3-train grids"):
            fit(one, other, quick(groups=attention_fine().groups), threads=1)
