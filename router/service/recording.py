"""What the service writes to the decision log. A disk that is full costs rows, never an answer."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from router.decisions import DecisionLog, DecisionRecord, WatchedRecord
from router.service.metrics import Metrics
from router.service.quality import Watched
from router.service.results import Routed

logger = logging.getLogger("m3_router")


class Recorder:
    """Writes to ``log``, or to nothing when that is None. model: the name of what answers."""

    def __init__(self, log: DecisionLog | None, metrics: Metrics, model: str) -> None:
        self._log = log
        self._metrics = metrics
        self._model = model

    def decided(
        self,
        routed: Routed,
        timings_ms: dict[str, float],
        *,
        endpoint: str,
        request_id: str,
        passes: Sequence[int] = (),
    ) -> None:
        """A decision. passes: the scales at which it was answered, in order."""
        if self._log is None:
            return
        self._write(
            DecisionRecord.of(
                routed.decision,
                request_id=request_id,
                endpoint=endpoint,
                model=self._model,
                router=routed.router,
                fallback=routed.fallback,
                visual_tokens=routed.cost.visual_tokens,
                full_visual_tokens=routed.cost.full_visual_tokens,
                timings_ms=timings_ms,
                passes=tuple(passes),
            )
        )

    def watched(self, found: Watched) -> None:
        """A request that was answered again."""
        routed = found.routed
        if self._log is None or routed.router is None:
            return
        self._write(
            WatchedRecord.of(
                routed.decision,
                request_id=found.request_id,
                model=self._model,
                router=routed.router,
                agreed=found.agreed,
                scales=tuple(found.at),
                visual_tokens=routed.inputs.visual_tokens,
                agrees=tuple(found.at.values()),
            )
        )

    def close(self) -> None:
        if self._log is not None:
            self._log.close()

    def _write(self, record: DecisionRecord | WatchedRecord) -> None:
        assert self._log is not None
        try:
            self._log.write(record)
        except OSError as error:
            self._metrics.decision_log_failed()
            logger.warning(
                "%s could not be written to the decision log: %s", record.request_id, type(error).__name__
            )
