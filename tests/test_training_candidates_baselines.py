"""Baselines that look at little: the image alone, its entropy alone, the nearest neighbours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data.records import OutcomeTable
from tests.routing import outcomes
from training.candidates import candidates
from training.candidates.base import Candidate, Charged, Examples, log_loss
from training.candidates.image_entropy import POOLED, ImageEntropy, entropies
from training.candidates.image_only import image_only
from training.candidates.nearest_neighbours import NearestNeighbours
from training.fit import build_spec


def examples(candidate: Candidate, table: OutcomeTable) -> Examples:
    return Examples.of(table, build_spec(table, candidate.groups))


def chance(table: OutcomeTable) -> float:
    return log_loss(table.scores, np.broadcast_to(table.scores.mean(axis=0), table.scores.shape))


def test_the_baselines_are_candidates() -> None:
    assert {"image_only", "image_entropy", "nearest_neighbours"} <= {c.name for c in candidates()}


def test_image_only_reads_nothing_of_the_question() -> None:
    spec = build_spec(outcomes(20), image_only().groups)
    assert {name.partition(":")[0] for name in spec.names} == {"grid_stats", "image"}


def with_entropy(table: OutcomeTable) -> OutcomeTable:
    """The detail of each image (which decides the scale) under the name of an entropy."""
    names = ("lost_entropy_9", *table.grid_stat_names[1:])
    return replace(table, grid_stat_names=names)


def test_image_entropy_finds_the_entropy_that_says_something_and_learns_from_it() -> None:
    train, other = with_entropy(outcomes(200)), with_entropy(outcomes(100, split="dev"))
    fitted = ImageEntropy().fit(examples(ImageEntropy(), train), seed=0)
    assert fitted.entropy == "lost_entropy_9"
    assert set(fitted.notes["held_out_log_loss"]) == {"lost_entropy_9", POOLED}
    got = fitted.predict(examples(ImageEntropy(), other))
    assert got.score.shape == other.scores.shape
    assert log_loss(other.scores, got.score) < chance(other) - 0.02
    assert np.all((got.sufficient >= 0) & (got.sufficient <= 1))


def test_an_entropy_that_is_the_same_for_all_images_gives_the_mean() -> None:
    table = outcomes(40)
    flat = examples(ImageEntropy(), replace(table, pooled=np.ones_like(table.pooled)))
    got = ImageEntropy().fit(flat, seed=0).predict(flat)
    np.testing.assert_allclose(got.score, np.tile(table.scores.mean(axis=0), (len(table), 1)), rtol=1e-5)


def test_the_entropy_of_pooled_tokens_is_one_when_all_are_alike_and_zero_when_one_has_all_energy() -> None:
    table = outcomes(2, 1)
    pooled = np.zeros_like(table.pooled)
    pooled[0] = 1.0
    pooled[1, 3] = 2.0
    np.testing.assert_allclose(entropies(replace(table, pooled=pooled))[POOLED], [1.0, 0.0], atol=1e-9)


def test_a_table_whose_images_have_no_entropy_is_refused() -> None:
    table = outcomes(20)
    bare = replace(table, pooled=table.pooled[:, :1])
    with pytest.raises(ValueError, match="an image has no entropy"):
        ImageEntropy().fit(examples(ImageEntropy(), bare), seed=0)


def test_neighbours_predict_the_mean_of_the_nearest_and_are_better_than_the_mean_of_all() -> None:
    candidate = NearestNeighbours(ks=(5, 20), question_weights=(1.0, 3.0))
    train, other = outcomes(200), outcomes(60, split="dev")
    spec = build_spec(train, candidate.groups)
    fitted = candidate.fit(Examples.of(train, spec), seed=0)
    asked = Examples.of(other, spec)
    got = fitted.predict(asked)
    assert log_loss(other.scores, got.score) < chance(other) - 0.02
    place = fitted.space.place(asked.features)[7]
    nearest = np.argsort(np.square(fitted.placed - place).sum(axis=1))[: fitted.k]
    np.testing.assert_allclose(got.score[7], train.scores[nearest].mean(axis=0), atol=1e-6)


def test_neighbours_are_charged_for_every_number_of_the_training_table() -> None:
    candidate = NearestNeighbours(ks=(5,), question_weights=(1.0,))
    train = outcomes(30)
    fitted = candidate.fit(examples(candidate, train), seed=0)
    assert isinstance(fitted, Charged)
    width = build_spec(train, candidate.groups).width
    assert fitted.charge["flops"] == fitted.charge["flops_7b"] == len(train) * (2 * width + 1)


def test_more_neighbours_than_there_are_samples_are_not_asked_for() -> None:
    candidate = NearestNeighbours(ks=(10_000,), question_weights=(1.0,))
    assert candidate.fit(examples(candidate, outcomes(20)), seed=0).k == 1


def test_a_column_that_never_varies_has_no_say_in_who_is_near() -> None:
    candidate = NearestNeighbours(ks=(3,), question_weights=(1.0,))
    table = outcomes(30)
    constant = replace(table, grid_stats=np.ones_like(table.grid_stats))
    fitted = candidate.fit(examples(candidate, constant), seed=0)
    columns = build_spec(constant, candidate.groups).columns(("grid_stats",))
    assert not fitted.space.factor[columns].any()
    assert np.isfinite(fitted.placed).all()
