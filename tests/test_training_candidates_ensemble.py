from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import pytest

from router import Router
from tests.routing import SCALES, outcomes
from tests.test_training_candidates_attention import quick as network
from training.candidates import candidates
from training.candidates.base import Examples, FittedLogits, log_loss, predictions
from training.candidates.ensemble import MeanOfMembers
from training.candidates.lightgbm_per_scale import LightGBMPerScale
from training.edge_rows import edge_rows
from training.export import check_parity, export
from training.fit import build_spec, fit

TREES = LightGBMPerScale(grid=({"num_leaves": 7, "min_data_in_leaf": 20},), folds=2, rounds=40)


def small() -> MeanOfMembers:
    return MeanOfMembers(members=(TREES, network(epochs=30)))


@cache
def fitted() -> tuple[FittedLogits, Examples, Examples]:
    train = outcomes(200)
    spec = build_spec(train, small().groups)
    examples = Examples.of(train, spec)
    return (
        small().fit(examples, seed=0, threads=2),
        examples,
        Examples.of(outcomes(80, split="dev"), spec),
    )


def test_its_logits_are_the_mean_of_its_members_calibrated_ones() -> None:
    found, examples, dev = fitted()
    members = found.notes["members"]
    assert list(members) == ["lightgbm_per_scale", "attention"]
    wanted = np.zeros((len(dev), 5))
    for candidate in small().members:
        alone = candidate.fit(examples, seed=0, threads=1)
        said = members[candidate.name]
        wanted += (alone.logits.raw(dev.features) * said["slopes"] + said["offsets"]) / 2
    np.testing.assert_allclose(found.logits.raw(dev.features), wanted, atol=1e-6)


def test_its_members_are_candidates_that_read_what_it_reads() -> None:
    known = {candidate.name: candidate for candidate in candidates()}
    for member in MeanOfMembers().members:
        assert known[member.name] == member
        assert member.groups == MeanOfMembers().groups


def test_it_is_no_worse_than_the_worse_of_its_members_and_its_held_out_loss_is_told() -> None:
    found, examples, dev = fitted()
    losses = [
        log_loss(dev.scores, member.fit(examples, seed=0, threads=1).predict(dev).score)
        for member in small().members
    ]
    assert log_loss(dev.scores, found.predict(dev).score) < max(losses)
    p = 1 / (1 + np.exp(-found.held_out))
    assert np.mean(found.notes["held_out_log_loss"]) == pytest.approx(log_loss(examples.scores, p), abs=1e-4)


def test_trees_and_network_are_one_graph_equal_to_what_was_fitted_on_edge_values_too() -> None:
    found, _, dev = fitted()
    content = export(found.logits, None, dev.spec.width)
    operators = [node.op_type for node in onnx.load_from_string(content).graph.node]
    assert operators.count("TreeEnsembleRegressor") == 1
    assert operators.count("Softmax") == 1
    check_parity(content, found.predict(dev), dev.features)
    edges = edge_rows(dev.features, content)
    check_parity(content, predictions(found.logits, edges), edges)


def test_it_makes_a_bundle_that_routes_and_the_same_seed_makes_the_same_one() -> None:
    train, tune = outcomes(80), outcomes(40, split="tune")
    one, two = (fit(train, tune, small(), threads=threads).bundle for threads in (1, 2))
    assert one.version == two.version
    assert one.candidate == "ensemble"
    assert Router.of(one).route(outcomes(3, split="dev").route_inputs(0)).scale in SCALES
