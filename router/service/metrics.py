"""Prometheus metrics, prefix ``m3_``. Every app has a registry of its own: nothing is global.

Labels take few values, none of them from a client: route templates, status codes, error codes that we
define, scales of the ladder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from m3_backbone.types import Engine
from router.confidence_sequence import ConfidenceSequence

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

WATCHED = ("agreed", "disagreed", "dropped", "failed")
"""What becomes of a request that is to be answered again; dropped: there was no time for it."""


M = TypeVar("M", bound=MetricWrapperBase)


class _Children(dict[tuple[str, ...], M]):
    """A metric's children by their labels, each looked up in it once: that takes a lock and some checks."""

    def __init__(self, metric: M) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, labels: tuple[str, ...]) -> M:
        child: M = self._metric.labels(*labels)
        self[labels] = child
        return child


class Metrics:
    """What the service counts and times. `render` gives the text that Prometheus scrapes."""

    def __init__(self, engine: Engine, router_version: str | None) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self._requests = _Children(
            Counter("m3_requests", "Requests by route and status.", ["endpoint", "status"], registry=registry)
        )
        self._request_seconds = _Children(
            Histogram(
                "m3_request_seconds", "Time to respond.", ["endpoint"], buckets=_SECONDS, registry=registry
            )
        )
        self._errors = Counter("m3_errors", "Error responses by code.", ["code"], registry=registry)
        self._stage_seconds = _Children(
            Histogram(
                "m3_stage_seconds",
                "Time by stage of a request.",
                ["stage"],
                buckets=_SECONDS,
                registry=registry,
            )
        )
        self._decisions = _Children(
            Counter("m3_decisions", "Decisions by scale and policy.", ["scale", "policy"], registry=registry)
        )
        self._fallbacks = Counter(
            "m3_router_fallbacks",
            "Requests sent to the largest scale allowed because the router could not decide.",
            ["reason"],
            registry=registry,
        )
        self._passes = _Children(
            Counter(
                "m3_passes",
                "Answers generated, by scale and by which pass of their request they were.",
                ["scale", "number"],
                registry=registry,
            )
        )
        self._first_token_seconds = Histogram(
            "m3_first_token_seconds",
            "Time to the first token of the answer that is given.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._visual_tokens = Counter("m3_visual_tokens", "Visual tokens generated from.", registry=registry)
        self._full_visual_tokens = Counter(
            "m3_full_visual_tokens", "Visual tokens that the full scale would have cost.", registry=registry
        )
        self._flops = Counter("m3_flops", "FLOPs of the answers given.", registry=registry)
        self._full_flops = Counter(
            "m3_full_flops", "FLOPs that the full scale would have cost.", registry=registry
        )
        self._log_failures = Counter(
            "m3_decision_log_failures", "Rows that could not be written to the log.", registry=registry
        )
        self._in_flight = Gauge("m3_requests_in_flight", "Requests being handled.", registry=registry)
        for name, help_text, read in (
            ("m3_ready", "1 when the engine is ready.", lambda: float(engine.health().ready)),
            ("m3_engine_queued", "Requests waiting in the engine.", lambda: engine.health().queued),
            ("m3_engine_running", "Requests running in the engine.", lambda: engine.health().running),
            ("m3_engine_cached_images", "Encoded images kept.", lambda: engine.health().cached_images),
            ("m3_engine_restarts", "Times the model was started again.", lambda: engine.health().restarts),
        ):
            Gauge(name, help_text, registry=registry).set_function(read)
        self._watched = Counter(
            "m3_watched", "Requests drawn to be answered again.", ["outcome"], registry=registry
        )
        for outcome in WATCHED:
            self._watched.labels(outcome)
        self._agreement = Gauge(
            "m3_agreement",
            "Share of routed answers that say what the full scale says; low and high are bounds.",
            ["which"],
            registry=registry,
        )
        self._drift = Gauge(
            "m3_drift", "Population stability index of the requests.", ["number"], registry=registry
        )
        self._alarms = Gauge("m3_quality_alarm", "1 while on.", ["alarm"], registry=registry)
        self._reloads = Counter("m3_reloads", "Reloads of the bundle.", ["result"], registry=registry)
        self._model = engine.name
        self._info = Gauge("m3_info", "What is served.", ["model", "router"], registry=registry)
        self.serves(router_version)

    def serves(self, router_version: str | None) -> None:
        """From now on this router decides."""
        self._info.clear()
        self._info.labels(self._model, router_version or "none").set(1)

    def reloaded(self, result: Literal["done", "failed"]) -> None:
        self._reloads.labels(result).inc()

    def request_started(self) -> None:
        self._in_flight.inc()

    def request_ended(self, endpoint: str, status: int, seconds: float) -> None:
        self._in_flight.dec()
        self._requests[endpoint, str(status)].inc()
        self._request_seconds[(endpoint,)].observe(seconds)

    def error(self, code: str) -> None:
        self._errors.labels(code).inc()

    def decided(self, scale: int, policy: str, fallback: str | None) -> None:
        self._decisions[str(scale), policy].inc()
        if fallback is not None:
            self._fallbacks.labels(fallback).inc()

    def stages(self, timings_ms: Mapping[str, float]) -> None:
        for stage, milliseconds in timings_ms.items():
            if stage != "total":
                self._stage_seconds[(stage,)].observe(milliseconds / 1000)

    def passed(self, scales: Sequence[int]) -> None:
        """The passes of one request, in order."""
        for number, scale in enumerate(scales, 1):
            self._passes[str(scale), str(number)].inc()

    def first_token(self, seconds: float) -> None:
        self._first_token_seconds.observe(seconds)

    def answered(self, visual_tokens: int, full_visual_tokens: int, flops: int, full_flops: int) -> None:
        self._visual_tokens.inc(visual_tokens)
        self._full_visual_tokens.inc(full_visual_tokens)
        self._flops.inc(flops)
        self._full_flops.inc(full_flops)

    def watched(self, outcome: str) -> None:
        """outcome: one of `WATCHED`."""
        self._watched.labels(outcome).inc()

    def agreement(self, known: ConfidenceSequence | None) -> None:
        """None: nothing is known any more."""
        self._agreement.clear()
        if known is not None and known.n:
            for which, value in (("mean", known.mean), ("low", known.low), ("high", known.high)):
                self._agreement.labels(which).set(value)

    def drift(self, indices: Mapping[str, float]) -> None:
        self._drift.clear()
        for number, index in indices.items():
            self._drift.labels(number).set(index)

    def alarm(self, alarm: str, on: bool) -> None:
        self._alarms.labels(alarm).set(on)

    def decision_log_failed(self, rows: int = 1) -> None:
        self._log_failures.inc(rows)

    def render(self) -> bytes:
        return generate_latest(self._registry)
