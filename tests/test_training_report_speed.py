"""How long a report on many questions takes, and how much memory: the bar of 2 cores."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.records import BY_IMAGE, BY_SAMPLE, OutcomeTable, pick, write_outcomes
from tests.reporting import make_table, world

ROOT = Path(__file__).parent.parent
SECONDS, BYTES = 20.0, 10**9


def repeated(table: OutcomeTable, times: int) -> OutcomeTable:
    """The samples of ``table`` over and over, each time about images of their own."""
    n, m = len(table), len(table.image_ids)
    changed: dict[str, Any] = {name: pick(getattr(table, name), _tiled(n, times)) for name in BY_SAMPLE}
    changed |= {name: pick(getattr(table, name), _tiled(m, times)) for name in BY_IMAGE}
    for name, size in (("sample_ids", n), ("image_ids", m)):
        changed[name] = tuple(f"{value}/{i // size}" for i, value in enumerate(changed[name]))
    changed["image_index"] = np.tile(table.image_index, times) + np.repeat(np.arange(times) * m, n)
    return replace(table, **changed)


def _tiled(n: int, times: int) -> Any:
    return np.tile(np.arange(n), times)


@pytest.mark.slow
def test_a_report_on_a_hundred_thousand_questions_takes_20_seconds_and_a_gigabyte(tmp_path: Path) -> None:
    for split in ("router-train", "tune"):
        shutil.copytree(world() / "outcomes" / split, tmp_path / "outcomes" / split)
    table = repeated(make_table("dev", 334, 3), 100)
    assert table.scores.shape == (100_200, 5)
    write_outcomes(tmp_path / "outcomes" / "dev", table)
    program = "from training.cli.main import main; main()"
    command = [sys.executable, "-c", program, "report", "--draws", "1000"]
    for option, place in (("--outcomes", "outcomes"), ("--out", "out")):
        command += [option, str(tmp_path / place)]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    start = time.monotonic()
    process = subprocess.Popen([*command, "--bundle", str(world() / "bundle")], cwd=ROOT, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    seconds, memory = time.monotonic() - start, used.ru_maxrss * 1024
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert (tmp_path / "out" / "report.html").stat().st_size > 100_000
    figures = f"{seconds:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of processors, {memory / 1e9:.2f} GB"
    assert seconds < SECONDS, figures
    assert memory < BYTES, figures
