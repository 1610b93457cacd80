"""What routing itself costs: FLOPs of the route inputs and of the predictor, and time on this machine."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.records import OutcomeTable
from m3_backbone.cost import Architecture
from router.router import Router
from training.evaluation.results import FLOPS, FLOPS_7B

ASKED = 200
"""Requests that are timed, one after the other, after a tenth as many that are not."""


@dataclass(frozen=True)
class OwnCost:
    """flops: per question by cost name (this backbone's and the 7B shape's), route inputs and predictor.

    ms, ms_high: median and 99th percentile of one decision, from route inputs to a scale, on this machine
    with one thread. machine: its processor's kind.
    """

    flops: dict[str, float]
    predictor_flops: float
    ms: float
    ms_high: float
    machine: str


def own_flops(router: Router, table: OutcomeTable) -> tuple[dict[str, float], float]:
    """(FLOPs per question by cost name, of which the predictor's): what every routed request is charged."""
    from training.comparing.charges import backbone_width, route_input_flops

    predictor = graph_flops(router.bundle.onnx)
    words = float(np.mean([len(tokens) for tokens in table.question_tokens]))
    widths = {FLOPS: backbone_width(table), FLOPS_7B: Architecture.llava_7b().hidden}
    groups = router.bundle.features.groups
    return {
        cost: predictor + route_input_flops(groups, table.scales, width, words)
        for cost, width in widths.items()
    }, predictor


def own_cost(router: Router, table: OutcomeTable) -> OwnCost:
    """Times `ASKED` decisions on requests of ``table``."""
    flops, predictor = own_flops(router, table)
    warm = max(1, min(ASKED, len(table)) // 10)
    rows = np.linspace(0, len(table) - 1, min(ASKED, len(table)) + warm).astype(int)
    requests = [table.route_inputs(row) for row in rows.tolist()]
    taken = []
    for request in requests:
        start = time.perf_counter()
        router.route(request)
        taken.append(1000 * (time.perf_counter() - start))
    median, high = np.quantile(taken[warm:], [0.5, 0.99])
    return OwnCost(flops, predictor, float(median), float(high), platform.machine() or "unknown")


def graph_flops(onnx: bytes) -> float:
    """FLOPs of one row through a predictor's graph: of trees at most leaves - 1 comparisons and an addition
    each, so as many as there are leaves; of layers two per weight. What is left is negligible beside them.
    """
    import onnx as library

    graph: Any = library.load_model_from_string(onnx).graph
    sizes = {each.name: int(np.prod(each.dims)) for each in graph.initializer}
    found = 0.0
    for node in graph.node:
        if node.op_type.startswith("TreeEnsemble"):
            modes = next(a for a in node.attribute if a.name == "nodes_modes")
            found += sum(mode == b"LEAF" for mode in modes.strings)
        elif node.op_type in ("Gemm", "MatMul"):
            found += 2 * sum(sizes.get(name, 0) for name in node.input)
    return found
