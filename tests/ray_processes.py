"""The processes of a Ray cluster that this machine runs, found through /proc, to be killed by tests."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def descendants(root: int) -> Iterator[tuple[int, str]]:
    """(id, title) of the processes that come from ``root``."""
    parents, titles = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
            titles[int(folder.name)] = command.decode(errors="replace").strip()
    for pid in parents:
        above = pid
        while above in parents and above != root:
            above = parents[above]
        if above == root and pid != root:
            yield pid, titles.get(pid, "")


def workers(root: int, name: str) -> list[int]:
    """The processes under ``root`` that run the actor class ``name``."""
    return [pid for pid, title in descendants(root) if title.startswith(f"ray::{name}")]


def kill_one(root: int, name: str, rng: random.Random, patience_s: float = 120.0) -> int:
    """Kills -9 one of `workers`, for which it waits; returns its id, or 0 when there was none in time."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if found := workers(root, name):
            pid = rng.choice(found)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return pid
        time.sleep(0.05)
    return 0
