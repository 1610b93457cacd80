from __future__ import annotations

import asyncio

import numpy as np
import pytest

from m3_backbone.fake import FakeEngine
from m3_backbone.types import RouteInputs
from router import Router
from router.cli.bench import alone
from router.cli.pictures import generated
from router.cli.router_speed import BATCH, router_times, stacked
from router.service.pipeline import Pipeline
from router.settings import Settings
from tests.routing import outcomes, small_fit


def router() -> Router:
    return Router.of(small_fit().bundle)


def inputs(n: int) -> list[RouteInputs]:
    table = outcomes(20, split="dev")
    return [table.route_inputs(i) for i in range(n)]


def test_requests_stacked_have_the_features_that_they_have_alone() -> None:
    spec, several = small_fit().bundle.features, inputs(7)
    np.testing.assert_array_equal(spec.matrix(stacked(several)), [spec.vector(each) for each in several])


def test_the_router_is_timed_for_one_request_and_for_a_batch() -> None:
    found = router_times(router(), inputs(3), rounds=5)
    assert found["batch"] == BATCH == 64
    assert 0 < found["one_p50_us"] <= found["one_p95_us"]
    assert found["batch_us_per_request"] > 0


def test_the_bench_times_the_router_of_a_bundle_and_the_summary_it_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("router.cli.bench.router_times", lambda router, inputs: {"seen": float(len(inputs))})

    async def run() -> dict[str, float] | None:
        engine = FakeEngine()
        await engine.start()
        pipeline = Pipeline(Settings(), engine, router())
        try:
            return await alone(pipeline, [(picture, "What?") for picture in generated(2)])
        finally:
            pipeline.close()
            await engine.close()

    found = asyncio.run(run())
    assert found is not None
    assert found["seen"] == 2
    assert found["summary_p50_us"] > 0
