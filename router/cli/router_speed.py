"""What the router takes by itself, per request: features, predictor, calibration and policy.

No HTTP, no queue, no backbone: route inputs are there already. What making them takes is the engine's
affair and told apart (``summary`` in ``m3-router bench``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from m3_backbone.types import RouteInputs
from router.constraints import Constraints
from router.input_arrays import OneRequest
from router.router import Router

BATCH = 64
ROUNDS = 200


def router_times(router: Router, inputs: Sequence[RouteInputs], rounds: int = ROUNDS) -> dict[str, float]:
    """Medians over ``rounds``, in microseconds per request: of ``route``, and of `BATCH` requests at once.

    inputs: of one or more requests, taken in turn. Times are wall-clock on one thread: the bundle's predictor
    has one, and the rest is numpy.
    """
    many = [inputs[i % len(inputs)] for i in range(BATCH)]
    batch = stacked(many)
    visual_tokens = np.array([each.visual_tokens for each in many], np.int64)
    nothing = Constraints()

    def at_once() -> None:
        predictions = router.predict(router.bundle.features.matrix(batch))
        router.replay(predictions, visual_tokens, nothing)

    router.route(inputs[0])  # what is set up once is paid for here
    at_once()
    alone = [_microseconds(partial(router.route, inputs[i % len(inputs)])) for i in range(rounds)]
    together = [_microseconds(at_once) for _ in range(rounds)]
    p50, p95 = np.percentile(alone, [50, 95])
    return {
        "one_p50_us": round(float(p50), 1),
        "one_p95_us": round(float(p95), 1),
        "batch": BATCH,
        "batch_us_per_request": round(float(np.median(together)) / BATCH, 2),
    }


def told(times: Mapping[str, float]) -> str:
    """`router_times` and ``summary_p50_us`` in words."""
    return (
        f"The router by itself: {times['one_p50_us']:.0f} us for one (95%: {times['one_p95_us']:.0f}), "
        f"{times['batch_us_per_request']:.1f} us each for {times['batch']:.0f} at once. "
        f"The summary that it reads: {times['summary_p50_us']:.0f} us."
    )


def stacked(inputs: Sequence[RouteInputs]) -> OneRequest:
    """The requests as one table, each with an image of its own; all of one backbone."""
    rows = [OneRequest.of(each) for each in inputs]

    def joined(name: str) -> Any:
        return np.concatenate([getattr(row, name) for row in rows])

    arrays = ("image_sizes", "image_views", "grid_stats", "pooled", "fine", "question", "interaction")
    return replace(
        rows[0],
        image_index=np.arange(len(rows), dtype=np.int64),
        question_tokens=tuple(each.question_tokens for each in inputs),
        questions=tuple(each.question_text for each in inputs),
        **{name: joined(name) for name in arrays},
    )


def _microseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1e6 * (time.perf_counter() - start)
