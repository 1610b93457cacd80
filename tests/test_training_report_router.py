"""What a report says of the router itself: what it looks at, and what routing costs."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.reporting import report
from training.report.importance import importances
from training.report.markdown import markdown
from training.report.own_cost import graph_flops, own_cost, own_flops
from training.report.page import html_page
from training.report.rows import as_json


def test_what_the_router_reads_is_important_and_noise_is_not() -> None:
    found = {i.group: i for i in report().importances}
    # In this world the scale follows from the kind of question and from how fine the image is; pooled tokens
    # and interactions are noise.
    assert found["grid_stats"].brier > 0.02
    assert max(found["question"].brier, found["words"].brier) > 0.02
    assert abs(found["pooled"].brier) < 0.2 * found["grid_stats"].brier
    assert abs(found["interaction"].brier) < 1e-6  # it is the same everywhere
    assert found["grid_stats"].accuracy > 0.01
    assert [i.brier for i in report().importances] == sorted((i.brier for i in found.values()), reverse=True)
    assert sum(i.columns for i in found.values()) == report().inputs.router.bundle.features.width  # type: ignore[union-attr]


def test_importances_depend_on_the_seed_alone() -> None:
    router, table = report().inputs.router, report().inputs.table
    assert router is not None
    assert importances(router, table, 3) == importances(router, table, 3)
    assert importances(router, table, 3) != importances(router, table, 4)
    assert importances(router, table.take([0])) == ()


def graph(*nodes: onnx.NodeProto, weights: dict[str, tuple[int, ...]]) -> bytes:
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [
            helper.make_tensor(name, TensorProto.FLOAT, dims, np.zeros(int(np.prod(dims))))
            for name, dims in weights.items()
        ],
    )
    content: bytes = helper.make_model(made).SerializeToString()
    return content


def test_the_predictors_flops_are_two_per_weight_and_a_comparison_per_leaf() -> None:
    layers = graph(
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("Gemm", ["h", "b"], ["y"]),
        weights={"a": (4, 8), "b": (8, 1), "unused": (100, 100)},
    )
    assert graph_flops(layers) == 2 * (4 * 8 + 8 * 1)
    trees = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        nodes_modes=[b"BRANCH_LEQ", b"LEAF", b"LEAF", b"LEAF"],
    )
    assert graph_flops(graph(trees, weights={})) == 3


def test_routing_is_charged_and_its_time_is_told() -> None:
    router, table = report().inputs.router, report().inputs.table
    assert router is not None
    flops, predictor = own_flops(router, table)
    assert flops["flops_7b"] >= flops["flops"] > predictor > 0
    own = own_cost(router, dataclasses.replace(table))
    assert own.flops == flops
    assert 0 < own.ms <= own.ms_high
    e = report().evaluation
    point = report().operating
    assert point is not None
    chosen = table.flops[np.arange(len(table)), point.choice].mean()
    assert point.cost["flops"].value == pytest.approx(chosen + flops["flops"])
    assert e.fixed.cost["flops"] == pytest.approx(table.flops.mean(axis=0))


def test_page_json_and_markdown_show_importances_and_own_cost() -> None:
    r = report()
    got = json.loads(json.dumps(as_json(r), allow_nan=False))
    assert [i["group"] for i in got["importances"]] == [i.group for i in r.importances]
    assert got["own_cost"]["flops"] == r.own_cost.flops["flops"]  # type: ignore[union-attr]
    for whole in (html_page(r, []), markdown(r)):
        assert "grid stats" in whole
        assert "99th percentile" in whole
    without = report(router=False)
    assert without.importances == ()
    assert as_json(without)["own_cost"] is None
    assert "What routing costs" not in html_page(without, [])
