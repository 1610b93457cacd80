"""What is known of the quality of what is served, without a label: agreement with the full scale, and drift.

Everything begins anew with another router. Memory does not grow with the number of requests.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from m3_backbone.scales import Ladder
from router.change_detector import ChangeDetector
from router.confidence_sequence import ConfidenceSequence
from router.drift import Drift, Reference
from router.input_arrays import OneRequest
from router.request_numbers import recorded, request_numbers
from router.service.deciding import Routes
from router.service.metrics import Metrics
from router.service.results import Routed

logger = logging.getLogger("m3_router")

CONFIDENCE = 0.95

ALARMS = ("agreement_below", "agreement_fell", "agreement_changed", "drift")
"""agreement_below: the whole confidence sequence is below the bound. agreement_fell: the change detector
believes so. agreement_changed: no single mean fits what was observed. drift: a shift (`router.drift`)."""

SCALE = "scale"
_EVERY = 25  # requests between two looks at the drift


@dataclass(frozen=True, slots=True)
class Watched:
    """A routed request that was answered again.

    agreed: whether the answer that was given says what the full scale's says. at: scale -> the same of the
    answer at that scale; None where there is none, because the prompt did not fit.
    """

    routed: Routed
    request_id: str
    agreed: bool
    at: Mapping[int, bool | None]


class Quality:
    """Takes what was routed and what was watched; tells `metrics` and, in `alarms`, whoever asks.

    serving: the router in use. bound: the agreement that is asked for, or None.
    """

    def __init__(
        self,
        ladder: Ladder,
        metrics: Metrics,
        serving: Callable[[], Routes | None],
        *,
        bound: float | None = None,
    ) -> None:
        self.bound = bound
        self._ladder = ladder
        self._metrics = metrics
        self._serving = serving
        self._begin()

    def _begin(self) -> None:
        """Forget everything: another router decides."""
        router = self._serving()
        self._of = router
        self.router = None if router is None else router.version
        self.agreement = ConfidenceSequence(CONFIDENCE)
        self.detector = None if self.bound is None else ChangeDetector(self.bound)
        self.at_scale: dict[int, tuple[int, int]] = {}
        """Scale -> (answers that agreed with the full scale's, answers)."""
        self.scales: Counter[int] = Counter()
        """What the router chose, forced scales aside."""
        self.drift: dict[str, Drift] = {}
        """Number of a request (`router.request_numbers`), or `SCALE` -> what became of it."""
        self._recorded = references(router)
        self._changed = False
        self._seen = 0
        self._raised: frozenset[str] = frozenset()
        for alarm in ALARMS:
            self._metrics.alarm(alarm, False)
        self._metrics.agreement(None)
        self._metrics.drift({})

    def routed(self, routed: Routed) -> None:
        """A request was routed; forced scales say nothing of the router."""
        if not self._ours(routed.router) or routed.decision.policy == "fixed":
            return
        scale = routed.decision.scale
        self.scales[scale] += 1
        numbers = request_numbers(OneRequest.of(routed.inputs), self._ladder)
        row = {**{name: float(values[0]) for name, values in numbers.items()}, SCALE: float(scale)}
        if not all(map(math.isfinite, row.values())):
            return
        for name, value in row.items():
            if name not in self.drift:
                edges = tuple(map(float, self._ladder)) if name == SCALE else None
                self.drift[name] = Drift(self._recorded.get(name), edges=edges)
            self.drift[name].add(value)
        self._seen += 1
        if self._seen % _EVERY == 0:
            self._metrics.drift(
                {name: index for name, drift in self.drift.items() if (index := drift.index) is not None}
            )
            self._tell()

    def watched(self, watched: Watched) -> None:
        """A request was answered again. What another router decided is not counted."""
        if not self._ours(watched.routed.router):
            return
        agreed = float(watched.agreed)
        self.agreement.add(agreed)
        if self.detector is not None:
            self.detector.add(agreed)
        for scale, agrees in watched.at.items():
            if agrees is not None:
                good, n = self.at_scale.get(scale, (0, 0))
                self.at_scale[scale] = (good + agrees, n + 1)
        self._metrics.agreement(self.agreement)
        self._tell()
        if self.agreement.contradicted:  # what it held is no longer so: what is now is worth more
            self._changed = True
            self.agreement = ConfidenceSequence(CONFIDENCE)
            self._tell()

    def follow(self) -> None:
        """Begin anew if the router was replaced since the last look."""
        router = self._serving()
        if router is not self._of:  # by identity first: a version is a hash
            self._of = router
            if (None if router is None else router.version) != self.router:
                self._begin()

    def alarms(self) -> tuple[str, ...]:
        """Those of `ALARMS` that are on, in that order."""
        on = {
            "agreement_below": self.bound is not None and self.agreement.high < self.bound,
            "agreement_fell": self.detector is not None and self.detector.alarmed,
            "agreement_changed": self._changed,
            "drift": bool(self.shifted()),
        }
        return tuple(alarm for alarm in ALARMS if on[alarm])

    def shifted(self) -> tuple[str, ...]:
        """The numbers that are no longer distributed as they were."""
        return tuple(name for name, drift in self.drift.items() if drift.shifted)

    def _ours(self, router: str | None) -> bool:
        """Whether ``router`` is the one in use."""
        self.follow()
        return router is not None and router == self.router

    def _tell(self) -> None:
        """Metrics, and one line in the log when an alarm goes on or off."""
        raised = frozenset(self.alarms())
        for alarm in raised ^ self._raised:
            self._metrics.alarm(alarm, alarm in raised)
            log = logger.warning if alarm in raised else logger.info
            log("Quality: %s is %s. %s", alarm, "on" if alarm in raised else "off", self._words())
        self._raised = raised

    def _words(self) -> str:
        """Where things stand, for the log: numbers alone."""
        known = self.agreement
        return (
            f"{known.n} answers watched, agreement between {known.low:.3f} and {known.high:.3f}, "
            f"bound {'none' if self.bound is None else format(self.bound, 'g')}, "
            f"shifted: {', '.join(self.shifted()) or 'nothing'}."
        )


def references(router: Routes | None) -> dict[str, Reference]:
    """What the bundle of ``router`` recorded of the requests that it was calibrated on; often nothing."""
    bundle = getattr(router, "bundle", None)
    return {} if bundle is None else recorded(bundle.provenance)
