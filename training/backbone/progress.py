"""Where a stage stands: consumed seconds against a budget, checkpoints, and a stop that loses nothing."""

from __future__ import annotations

import json
import logging
import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

log = logging.getLogger(__name__)


class Interrupted(Exception):
    """Somebody asked the run to stop; what it had is saved."""


class Clock:
    """Seconds that a stage has consumed, over all its sessions, and the share of its budget."""

    def __init__(self, budget: float, consumed: float = 0.0) -> None:
        self.budget = max(budget, 1e-9)
        self._before = consumed
        self._start = time.monotonic()

    @property
    def consumed(self) -> float:
        return self._before + time.monotonic() - self._start

    @property
    def share(self) -> float:
        """0 at the start, 1 (or a little more) at the end."""
        return self.consumed / self.budget

    @property
    def left(self) -> str:
        seconds = max(0.0, self.budget - self.consumed)
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d} left"


class Every:
    """True once per ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    def due(self) -> bool:
        now = time.monotonic()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True


class Stop:
    """Set by the first SIGINT or SIGTERM; a second one ends the process at once."""

    def __init__(self) -> None:
        self.asked = False

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        log.warning("stopping after this step; once more to stop at once")

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        """Only in the main thread of a process."""
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def save(path: Path, state: dict[str, Any]) -> None:
    """Whole or not at all: written beside ``path``, then renamed."""
    partial = path.with_name(path.name + ".partial")
    torch.save(state, partial)
    partial.replace(path)


def restore(path: Path) -> dict[str, Any] | None:
    """What `save` wrote; None when there is nothing."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def rate_at(share: float, *, peak: float, warm_up: float, final: float) -> float:
    """Linear warm-up, then a cosine down to ``final * peak`` at share 1."""
    if share < warm_up:
        return peak * max(share / warm_up, 0.02)
    along = min(1.0, (share - warm_up) / (1.0 - warm_up))
    return peak * (final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * along)))


def record(folder: Path, **values: Any) -> None:
    """Appends one line to metrics.jsonl."""
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"time": round(time.time(), 1)} | values) + "\n")
