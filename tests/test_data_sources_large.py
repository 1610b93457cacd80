"""A reader's memory on a million rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS, BYTES = 1_000_000, 300 * 10**6
PROGRAM = "import sys; from data.sources import load; print(sum(1 for _ in load(sys.argv[1])))"


@pytest.mark.slow
def test_a_million_rows_are_streamed_in_300_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    with path.open("w") as file:
        for i in range(ROWS):
            row = {
                "id": i,
                "image": f"{i // 3}.jpg",
                "question": f"What is on sign {i}?",
                "answers": ["exit"],
            }
            file.write(json.dumps(row) + "\n")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout as told:
        assert int(told.read()) == ROWS
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert used.ru_maxrss * 1024 < BYTES, f"{used.ru_maxrss * 1024 / 1e6:.0f} MB"
