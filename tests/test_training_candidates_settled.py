"""Candidates that go on with the settings that a fit of theirs has found."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.routing import outcomes
from training.candidates import candidates
from training.candidates.attention import Attention
from training.candidates.avg_llava import AvgLlava
from training.candidates.base import Candidate, Examples, Settling, settled
from training.candidates.boosting import GRID
from training.candidates.budget import Budget, chosen
from training.candidates.cares import Cares
from training.candidates.ensemble import MeanOfMembers
from training.candidates.frugalgpt import FrugalGPT
from training.candidates.lightgbm_embeddings import lightgbm_embeddings
from training.candidates.lightgbm_joint import LightGBMJoint
from training.candidates.lightgbm_per_scale import LightGBMPerScale
from training.candidates.lightgbm_shared import LightGBMShared
from training.candidates.lookup import Lookup
from training.candidates.nearest_neighbours import NearestNeighbours
from training.candidates.vir import ViR
from training.fit import build_spec

TREES: dict[str, Any] = {
    "groups": ("grid_stats", "question"),
    "grid": ({"num_leaves": 3, "min_data_in_leaf": 20}, {"num_leaves": 7, "min_data_in_leaf": 20}),
    "folds": 2,
    "rounds": 12,
}
NETWORK = Budget(
    grid=({"learning_rate": 1e-2, "weight_decay": 0.1}, {"learning_rate": 1e-3, "weight_decay": 0.1}),
    folds=2,
    epochs=2,
)


def examples(candidate: Candidate) -> Examples:
    table = outcomes(60)
    return Examples.of(table, build_spec(table, candidate.groups))


def notes(candidate: Candidate) -> dict[str, Any]:
    """Of a fit, as they come back from a file."""
    fitted: Any = candidate.fit(examples(candidate), seed=0, threads=1)
    found: dict[str, Any] = json.loads(json.dumps(fitted.notes))
    return found


@pytest.mark.parametrize(
    "candidate",
    [
        LightGBMPerScale(**TREES),
        LightGBMShared(**TREES),
        LightGBMJoint(**TREES),
        FrugalGPT(**TREES),
        ViR(budget=NETWORK),
        NearestNeighbours(ks=(5, 20), question_weights=(1.0, 3.0)),
    ],
    ids=lambda candidate: str(candidate.name),
)
def test_a_settled_candidate_fits_what_its_search_had_fitted(candidate: Candidate) -> None:
    found = notes(candidate)
    known = settled(candidate, found)
    assert known != candidate
    assert known.name == candidate.name
    assert notes(known) == found
    data = examples(candidate)
    one, two = (each.fit(data, seed=0, threads=1).predict(data) for each in (candidate, known))
    np.testing.assert_array_equal(one.score, two.score)


@pytest.mark.parametrize(
    "candidate",
    [
        LightGBMPerScale(**TREES),
        LightGBMJoint(**TREES),
        FrugalGPT(**TREES),
        Attention(budget=NETWORK),
        AvgLlava(budget=NETWORK),
        Cares(budget=NETWORK),
        ViR(budget=NETWORK),
    ],
    ids=lambda candidate: str(candidate.name),
)
def test_with_the_number_of_trees_or_epochs_too_there_is_one_fit_and_it_is_the_same(
    candidate: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, found = examples(candidate), notes(candidate)
    whole: Any = candidate.fit(data, seed=0, threads=1)
    known = settled(candidate, found, rounds=True)
    monkeypatch.setattr("training.candidates.boosting.Search._held_out", None)  # nothing is: it would fail
    fitted: Any = known.fit(data, seed=0, threads=1)
    np.testing.assert_array_equal(whole.predict(data).score, fitted.predict(data).score)
    assert getattr(fitted, "held_out", np.zeros(0)).size == 0
    assert "held_out_loss" not in fitted.notes
    for what in ("setting", "trees", "epochs"):
        assert fitted.notes.get(what) == found.get(what)


def test_members_and_scales_have_settings_of_their_own() -> None:
    networks = MeanOfMembers().members[1]
    found = MeanOfMembers().settled({"members": {"lightgbm_embeddings": {"setting": dict(GRID[2])}}})
    assert found.members == (replace(lightgbm_embeddings(), grid=(GRID[2],)), networks)
    grids = FrugalGPT().settled({"scorers": [{"setting": dict(GRID[1])}, {"setting": dict(GRID[0])}]}).grids
    assert grids == ((GRID[1],), (GRID[0],))


def test_what_notes_do_not_say_is_searched_for() -> None:
    assert chosen(GRID, None) == chosen(GRID, {"num_leaves": 1}) == GRID
    assert chosen(GRID, dict(GRID[1])) == (GRID[1],)
    assert settled(Lookup(), {"setting": 1}) == Lookup()
    assert settled(LightGBMPerScale(), {}) == LightGBMPerScale()
    assert settled(ViR(), {}) == ViR()


def test_who_tries_settings_can_be_told_them() -> None:
    without = {one.name for one in candidates() if not isinstance(one, Settling)}
    assert without == {"image_entropy", "lookup", "plain_cascade"}
