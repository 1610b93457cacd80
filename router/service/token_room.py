"""How many tokens may be in the engine at once, waiting or running: few requests can be a long queue too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from m3_backbone.types import QueueFull


class TokenRoom:
    """Room for ``most`` tokens; None: for any number. Used from one event loop alone."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self.taken = 0

    @contextmanager
    def take(self, tokens: int) -> Iterator[None]:
        """Room for one request. Raises `QueueFull` when there is none.

        A request that is larger than all of it is let in when it is alone: waiting would not make it smaller.
        """
        if self._most is not None and self.taken and self.taken + tokens > self._most:
            raise QueueFull(f"{self.taken} tokens wait or run already. Try again later.")
        self.taken += tokens
        try:
            yield
        finally:
            self.taken -= tokens
