"""Memory that is freed and taken again: counted in page faults, in processes of their own."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from m3_backbone import load_backbone, loading
from m3_backbone.machine import keep_freed_memory
from tests.backbones import write_checkpoint

FAULTS = """
import resource, sys
from m3_backbone.machine import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
bytearray(64 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    bytearray(64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Page faults of taking 64 MiB four times that were taken and freed before."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_memory_that_was_freed_is_taken_again_without_page_faults() -> None:
    assert faults("kept") * 4 < faults("given back")


def test_it_may_be_asked_for_anywhere_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_freed_memory()
    keep_freed_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    keep_freed_memory()


def test_a_model_on_the_cpu_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[None] = []
    monkeypatch.setattr(loading, "keep_freed_memory", lambda: asked.append(None))
    load_backbone(write_checkpoint(tmp_path / "m3"))
    assert len(asked) == 1
