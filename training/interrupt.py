"""Ctrl-C that loses nothing: the first asks for a stop at the next good place, the second stops at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(Exception):
    """A run that was asked to stop, and did so where nothing is lost; the message has what is left."""


class Interrupt:
    """``asked`` turns True with the first SIGINT; a second one raises KeyboardInterrupt."""

    def __init__(self, said: str) -> None:
        self.asked = False
        self._said = said

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.write(2, f"\n{self._said}\n".encode())  # a console's lock may be held where the signal came

    @contextmanager
    def listening(self) -> Iterator[Interrupt]:
        """Only in the main thread of a process."""
        before = signal.signal(signal.SIGINT, self._ask)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, before)
