"""The app with a real fitted router: what it decides is what `Router.route` decides on the same inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from m3_backbone.fake import FakeEngine
from m3_backbone.types import EncodedImage, RouteInputs
from router.policy import Constraints
from router.router import Router
from tests.routing import outcomes, small_fit
from tests.serving import app_of, talking


class FromTable(FakeEngine):
    """The fake, but what the router sees comes from the table's kind that the router was fitted on."""

    def __init__(self, inputs: RouteInputs) -> None:
        super().__init__()
        self.inputs = inputs

    async def summarise(self, image: EncodedImage, turns: Sequence[str]) -> RouteInputs:
        return self.inputs


@pytest.mark.parametrize("row", range(8))
@pytest.mark.parametrize("budget", [None, 40.0])
def test_the_service_decides_as_the_router_does(row: int, budget: float | None) -> None:
    router = Router.of(small_fit().bundle)
    inputs = outcomes(20, split="dev").route_inputs(row)
    expected = router.route(inputs, Constraints(token_budget=budget))
    with talking(app_of(FromTable(inputs), router)) as http:
        body = http.answer(token_budget=budget).json()
    assert body["router"] == router.version
    assert body["scale"] == expected.scale
    assert body["decision"]["policy"] == expected.policy
    assert body["decision"]["probabilities"] == {
        str(scale): pytest.approx(p, abs=1e-6) for scale, p in expected.probabilities.items()
    }


def test_inputs_that_are_not_numbers_fall_back_to_the_full_scale_and_are_counted() -> None:
    inputs = outcomes(20, split="dev").route_inputs(0)
    spoilt = replace(inputs, grid_stats=np.full_like(inputs.grid_stats, np.nan))
    with talking(app_of(FromTable(spoilt), Router.of(small_fit().bundle))) as http:
        body = http.answer().json()
        metrics = http.get("/metrics").text
    assert body["scale"] == 576
    assert body["decision"]["fallback"]
    assert 'm3_router_fallbacks_total{reason="predictor"} 1.0' in metrics


def test_an_image_unlike_those_of_training_falls_back_and_is_counted_as_novel() -> None:
    inputs = outcomes(20, split="dev").route_inputs(0)
    bundle = replace(small_fit().bundle, novelty_threshold=-1.0)  # everything is further away than this
    with talking(app_of(FromTable(inputs), Router.of(bundle))) as http:
        body = http.answer().json()
        metrics = http.get("/metrics").text
    assert body["scale"] == 576
    assert body["decision"]["probabilities"]
    assert 'm3_router_fallbacks_total{reason="novelty"} 1.0' in metrics
