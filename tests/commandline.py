"""Runs ``m3-router`` in this process as its entry point does."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from router.cli.main import main


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Run = Callable[..., Done]


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``run("ask", path, ...)`` -> exit code and what was written; variables of ours are taken away."""
    for name in list(os.environ):
        if name.startswith("M3_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments: object) -> Done:
        monkeypatch.setattr("sys.argv", ["m3-router", *map(str, arguments)])
        code = 0
        taken = (signal.SIGTERM, signal.SIGHUP)  # `serve` takes them over
        before = [signal.getsignal(number) for number in taken]
        try:
            main()
        except SystemExit as leave:
            code = leave.code if isinstance(leave.code, int) else 1
        finally:
            for number, handler in zip(taken, before, strict=True):
                signal.signal(number, handler)
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return run


def is_one_line(done: Done) -> bool:
    """A domain error: one line on stderr, exit code 2, nothing on stdout."""
    return (
        done.code == 2 and done.out == "" and done.err.count("\n") == 1 and done.err.startswith("m3-router: ")
    )
