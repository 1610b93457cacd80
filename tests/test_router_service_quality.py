"""What is made of watched answers and routed requests: figures, alarms, a new beginning with a new router."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from m3_backbone.fake import LADDER, FakeEngine
from m3_backbone.fake_image import FakeImage
from m3_backbone.types import RouteInputs
from router.bundle import Bundle
from router.drift import VALUES
from router.policy import Decision
from router.service.metrics import Metrics
from router.service.quality import ALARMS, Quality, Watched
from router.service.results import Cost, Routed
from tests.routing import small_fit
from tests.serving import ScriptedRouter, app_of, error_of, settings, talking

KEY = "a-key-of-ours"


@dataclass
class Recorded(ScriptedRouter):
    """A router with a bundle."""

    bundle: Bundle | None = None


class Known:
    """A `Quality` of a router that can be replaced, and its metrics."""

    def __init__(self, bound: float | None = None) -> None:
        self.router = ScriptedRouter(version="v1")
        self.metrics = Metrics(FakeEngine(), "v1")
        self.quality = Quality(LADDER, self.metrics, lambda: self.router, bound=bound)

    def watch(self, agreed: bool, times: int = 1, router: str = "v1") -> None:
        for _ in range(times):
            at: dict[int, bool | None] = {1: False, 9: None, 36: agreed, 144: True, 576: True}
            self.quality.watched(Watched(routed(router), "r", agreed, at))

    def value(self, line: str) -> float:
        (found,) = [x for x in self.metrics.render().decode().splitlines() if x.startswith(line + " ")]
        return float(found.split()[-1])


def inputs(rng: np.random.Generator | None = None) -> RouteInputs:
    from PIL import Image

    colour = (200, 30, 30) if rng is None else tuple(rng.integers(0, 256, 3).tolist())
    size = (32, 24) if rng is None else (int(rng.integers(20, 60)), int(rng.integers(20, 60)))
    picture = Image.new("RGB", size, colour)
    return FakeImage.of(picture, "hash", ladder=LADDER, views=1, owner="fake").summarise(["What is it?"])


INPUTS = inputs()


def routed(
    router: str | None = "v1", scale: int = 36, policy: str = "utility", seen: RouteInputs = INPUTS
) -> Routed:
    decision = Decision(scale, policy, "because", False, {}, {}, None)  # type: ignore[arg-type]
    return Routed(None, seen, decision, None, Cost(36, 576, 1, 2), {}, router)  # type: ignore[arg-type]


def test_at_first_nothing_is_known_and_no_alarm_is_on() -> None:
    known = Known(bound=0.9)
    assert known.quality.alarms() == ()
    assert "m3_agreement{" not in known.metrics.render().decode()
    assert all(known.value(f'm3_quality_alarm{{alarm="{alarm}"}}') == 0 for alarm in ALARMS)


def test_agreement_and_its_bounds_are_told_with_how_every_scale_does() -> None:
    known = Known()
    for _ in range(10):
        known.watch(True, 9)
        known.watch(False)
    quality = known.quality
    assert quality.agreement.mean == 0.9
    assert quality.agreement.low < 0.9 < quality.agreement.high
    assert quality.at_scale == {1: (0, 100), 36: (90, 100), 144: (100, 100), 576: (100, 100)}
    assert known.value('m3_agreement{which="mean"}') == pytest.approx(0.9)
    assert known.value('m3_agreement{which="low"}') == quality.agreement.low
    assert quality.alarms() == ()


def test_agreement_that_keeps_to_the_bound_raises_no_alarm() -> None:
    known = Known(bound=0.9)
    known.watch(True, 500)
    assert known.quality.alarms() == ()
    assert known.quality.agreement.low > 0.9


def test_agreement_below_the_bound_is_an_alarm_in_metrics_and_log(caplog: pytest.LogCaptureFixture) -> None:
    known = Known(bound=0.9)
    with caplog.at_level(logging.INFO, logger="m3_router"):
        for _ in range(60):
            known.watch(True)
            known.watch(False)
    assert known.quality.alarms() == ("agreement_below", "agreement_fell")
    assert known.value('m3_quality_alarm{alarm="agreement_below"}') == 1
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2  # once each, however long it lasts
    assert any(line.startswith("Quality: agreement_below is on. ") for line in lines)
    assert all("bound 0.9" in line for line in lines)


def test_a_fall_after_a_long_good_time_is_an_alarm_before_the_mean_is_below_the_bound() -> None:
    known = Known(bound=0.9)
    known.watch(True, 1000)
    known.watch(False, 20)
    assert known.quality.agreement.mean > 0.9
    assert known.quality.alarms() == ("agreement_fell",)


def test_what_no_single_mean_can_explain_is_an_alarm_and_the_figures_begin_anew() -> None:
    known = Known()
    known.watch(True, 300)
    while "agreement_changed" not in known.quality.alarms():
        known.watch(False)
    assert known.quality.agreement.n == 0
    known.watch(True)
    assert known.quality.alarms() == ("agreement_changed",)


def test_without_a_bound_no_agreement_is_too_low() -> None:
    known = Known()
    known.watch(False, 100)
    assert known.quality.alarms() == ()
    assert known.quality.detector is None


def test_a_new_router_begins_anew_and_what_the_old_one_decided_is_not_counted() -> None:
    known = Known(bound=0.9)
    known.watch(False, 100)
    assert known.quality.alarms()
    known.router = ScriptedRouter(version="v2")
    known.watch(False, 5, router="v1")
    assert (known.quality.router, known.quality.agreement.n, known.quality.alarms()) == ("v2", 0, ())
    assert known.value('m3_quality_alarm{alarm="agreement_below"}') == 0
    known.watch(True, 3, router="v2")
    assert known.quality.agreement.n == 3


def test_scales_that_were_forced_say_nothing_and_neither_does_a_service_without_a_router() -> None:
    known = Known()
    known.quality.routed(routed(policy="fixed"))
    known.quality.routed(routed(router=None))
    assert not known.quality.drift
    assert not known.quality.scales
    known.quality.routed(routed())
    assert known.quality.scales == {36: 1}


def requests(n: int, seed: int) -> Iterator[RouteInputs]:
    rng = np.random.default_rng(seed)
    few = [inputs(rng) for _ in range(40)]
    return (few[i] for i in rng.integers(0, len(few), n))


def test_other_pictures_than_the_first_ones_are_drift_and_so_is_another_mix_of_scales() -> None:
    known = Known()
    rng = np.random.default_rng(0)
    for seen in requests(2 * VALUES, 1):
        known.quality.routed(routed(seen=seen, scale=int(rng.choice((1, 36)))))
    assert known.quality.alarms() == ()
    for seen in requests(VALUES, 1):
        larger = replace(seen, image_size=(seen.image_size[0] * 40, seen.image_size[1] * 40))
        known.quality.routed(routed(seen=larger, scale=576))
    assert known.quality.shifted() == ("log2_pixels", "scale")
    assert known.quality.alarms() == ("drift",)
    assert known.value('m3_drift{number="scale"}') > 1
    assert known.value('m3_quality_alarm{alarm="drift"}') == 1


def test_numbers_that_are_none_are_left_out() -> None:
    known = Known()
    known.quality.routed(routed(seen=replace(INPUTS, grid_stats=np.full_like(INPUTS.grid_stats, np.nan))))
    assert not known.quality.drift


def test_what_a_bundle_recorded_is_what_requests_are_held_against() -> None:
    known = Known()
    fitted = small_fit().bundle
    known.router = Recorded(version="v2", bundle=fitted)
    known.quality.routed(routed("v2"))
    assert known.quality.drift["log2_pixels"].recorded
    assert known.quality.drift["log2_pixels"].n_recent == 1
    assert not known.quality.drift["scale"].recorded


def test_quality_is_for_those_with_a_key() -> None:
    with talking(app_of(router=ScriptedRouter(), config=settings(api_keys=KEY))) as http:
        refused = http.get("/v1/quality")
        given = http.get("/v1/quality", headers={"authorization": f"Bearer {KEY}"})
    assert refused.status_code == 401
    assert error_of(refused)["code"] == "missing_api_key"
    assert given.status_code == 200


@pytest.mark.parametrize(
    ("more", "bound"),
    [
        ({}, None),
        ({"accuracy_drop": 0.04}, 0.96),
        ({"accuracy_drop": 0.04, "watch_min_agreement": 0.9}, 0.9),
    ],
)
def test_the_bound_is_the_operators_or_that_of_his_accuracy_drop(
    more: dict[str, float], bound: float | None
) -> None:
    with talking(app_of(router=ScriptedRouter(), config=settings(**more))) as http:
        assert http.get("/v1/quality").json()["agreement"]["bound"] == bound


def test_a_service_that_watches_nothing_says_so() -> None:
    with talking(app_of(router=ScriptedRouter())) as http:
        http.answer()
        body = http.get("/v1/quality").json()
    assert body["router"] == "scripted"
    assert body["alarms"] == []
    assert body["watch"] == {
        "share": 0.0,
        "waiting": 0,
        "counts": {"agreed": 0, "disagreed": 0, "dropped": 0, "failed": 0},
    }
    assert body["agreement"] == {
        "watched": 0,
        "mean": None,
        "low": None,
        "high": None,
        "confidence": 0.95,
        "bound": None,
        "evidence_of_a_fall": None,
    }
    assert [at["chosen"] for at in body["scales"]] == [0, 0, 1, 0, 0]
    assert body["drift"][-1] == {
        "number": "scale",
        "reference": "first",
        "n_reference": 1,
        "n_recent": 0,
        "index": None,
        "shifted": False,
    }
