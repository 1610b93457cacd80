"""How long an engine may be not ready before the process had better be started anew.

A model that died or hangs is started again inside (`m3_backbone.revival`), but a lost device is not repaired
so. A supervisor (systemd, Docker, Kubernetes) can start the process again, once it has ended.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from m3_backbone.types import Engine

logger = logging.getLogger("m3_router")


class Patience:
    """With ``engine``, for ``seconds`` on end; None: without end. over: whether it was `is_over` once."""

    def __init__(
        self, engine: Engine, seconds: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.over = False
        self._engine = engine
        self._seconds = seconds
        self._clock = clock
        self._since: float | None = None

    def is_over(self) -> bool:
        """To be asked again and again. Once it is over it stays so."""
        if self._seconds is None or self.over:
            return self.over
        health = self._engine.health()
        if health.ready:
            self._since = None
            return False
        if self._since is None:
            self._since = self._clock()
        if self._clock() - self._since >= self._seconds:
            logger.error("The engine is not ready: %s. The service ends.", health.reason)
            self.over = True
        return self.over
