"""Which core serves, and which one asks: so that neither takes the other's time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cores:
    """None: wherever the system puts it, on a machine with one core or without affinities."""

    server: int | None
    clients: int | None

    @classmethod
    def of_this_machine(cls) -> Cores:
        """The first two cores that this process may use."""
        if not hasattr(os, "sched_getaffinity"):
            return cls(None, None)
        allowed = sorted(os.sched_getaffinity(0))
        return cls(allowed[0], allowed[1]) if len(allowed) > 1 else cls(None, None)

    def json(self) -> dict[str, int | None]:
        return {"server": self.server, "clients": self.clients}


def stay_on(core: int | None) -> None:
    """Keeps the calling thread, and what it starts from now on, on one core. None: does nothing."""
    if core is not None:
        os.sched_setaffinity(0, {core})


@contextmanager
def staying_on(core: int | None) -> Iterator[None]:
    """`stay_on`, and then back to where it was."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    stay_on(core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def one_thread() -> dict[str, str]:
    """Variables that keep numerical libraries to one thread: what one core can do."""
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
