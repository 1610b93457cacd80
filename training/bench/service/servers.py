"""Servers in processes of their own, on a core of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from training.bench.service.cores import one_thread, staying_on

START_S = 600.0
_ADDRESS = re.compile(r"on (http://[0-9.]+:[0-9]+)")
SERVICE = ("-m", "router.cli.main", "serve", "--port", "0")
BARE = ("-m", "training.bench.service.bare")


class ServerError(ValueError):
    """A server that did not start."""


@contextmanager
def serving(
    program: Sequence[str], core: int | None, settings: Mapping[str, str] | None = None
) -> Iterator[str]:
    """The address of ``program`` of this Python, once it has said it. settings: all its M3_ variables.

    Raises `ServerError`.
    """
    outside = {name: value for name, value in os.environ.items() if not name.startswith("M3_")}
    environment = {**outside, **one_thread(), **(settings or {})}
    # A file and not a pipe: nobody has to read along for the server to go on.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        with staying_on(core):  # inherited
            process = subprocess.Popen(
                [sys.executable, *program], env=environment, stdin=subprocess.DEVNULL, stderr=log
            )
        try:
            yield _address(process, log.fileno())
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(process: subprocess.Popen[bytes], log: int) -> str:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        told = os.pread(log, 2**20, 0).decode("utf-8", "replace")
        if found := _ADDRESS.search(told):
            return found[1]
        time.sleep(0.05)
    last = os.pread(log, 2**20, 0).decode("utf-8", "replace").strip().splitlines()[-1:]
    raise ServerError(f"A server did not start: {last[0] if last else 'it said nothing'}.")
