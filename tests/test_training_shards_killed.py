"""Labelling that is killed -9 at random moments: nothing is lost but the shard in flight, nothing repeated.

`make soak-labels` does it a thousand times.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from signal import SIGKILL

import pytest

from tests.labelling import SETTINGS, FakeBackbone, content, samples
from training.label import label

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
SHARDS = replace(SETTINGS, shard_images=3)

SCRIPT = """
import sys
from pathlib import Path
from tests.labelling import FakeBackbone, samples
from training.label import Settings, label

if __name__ == "__main__":
    settings, out = Settings("plain", shard_images=3, batch_images=2), Path(sys.argv[1])
    label(FakeBackbone(delay=0.004), samples(40), out, settings, lambda tally: print("on", flush=True))
"""

NURSERY = """
import os, sys
from pathlib import Path
from tests.labelling import FakeBackbone, samples
from training.label import Settings, label

settings = Settings("plain", shard_images=3, batch_images=2, process=False)
while out := sys.stdin.readline().strip():
    child = os.fork()
    if not child:
        print(os.getpid(), flush=True)
        label(FakeBackbone(), samples(40), Path(out), settings, lambda tally: print("on", flush=True))
        print("end", flush=True)
        os._exit(0)
    sys.stdin.readline()
    print("code", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Labels into each folder that it is told, in a process of its own: imports are paid once. The next line has
it collect that process; until then no other has its id."""


@dataclass
class Nursery:
    process: subprocess.Popen[str]

    def killed(self, out: Path, rng: random.Random) -> bool:
        """Label into ``out``, killed within a few batches; False when that was too late."""
        lines = self._said(str(out))
        child = int(next(lines))
        # Progress is waited for, not time alone: on a busy machine too a round gets on, and ends.
        for _ in range(rng.randrange(8)):
            if next(lines) == "end\n":
                break
        time.sleep(rng.uniform(0, 0.02))
        os.kill(child, SIGKILL)
        code = next(line for line in self._said("") if line.startswith("code"))
        assert code in ("code 0\n", f"code {-SIGKILL}\n")
        return code != "code 0\n"

    def _said(self, line: str) -> Iterator[str]:
        """Says ``line``; what the nursery says from then on."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return iter(self.process.stdout.readline, "")


@contextmanager
def nursery() -> Iterator[Nursery]:
    command = [sys.executable, "-c", NURSERY]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=ENVIRONMENT, cwd=ROOT, text=True) as process:
        yield Nursery(process)


@pytest.fixture
def ram_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: shards are synced to disk, a busy one can hold that up for long,
    and a process that is killed loses nothing that was written to either.
    """
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def kill(times: int, folder: Path) -> None:
    """Labelling runs, each killed until it is done, ``times`` kills in all; every table is checked."""
    label(FakeBackbone(), samples(40), folder / "whole", SHARDS)
    whole, rng = content(folder / "whole"), random.Random(7)
    kills, rounds = 0, 0
    with nursery() as nurse:
        while kills < times:
            out = folder / f"round-{rounds}"
            while nurse.killed(out, rng):
                kills += 1
            assert content(out) == whole, rounds
            assert len(list((out / "shards").iterdir())) == 14
            assert not list(out.rglob("*.tmp"))
            shutil.rmtree(out)
            rounds += 1
    assert rounds > 1


def test_kill_9_at_any_moment_loses_and_repeats_nothing(ram_path: Path) -> None:
    kill(50, ram_path)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_thousand_kills_lose_and_repeat_nothing(ram_path: Path) -> None:
    kill(int(os.environ.get("SOAK_KILLS", "1000")), ram_path)


def test_kill_9_with_a_second_process_for_the_images_leaves_no_process_and_loses_nothing(
    tmp_path: Path,
) -> None:
    label(FakeBackbone(), samples(40), tmp_path / "whole", SHARDS)
    rng, killed = random.Random(7), tmp_path / "killed"
    finished = [killed_with_its_images(tmp_path, killed, rng) for _ in range(3)]
    assert not all(finished)
    table = label(FakeBackbone(), samples(40), killed, SHARDS)
    assert table.sample_ids == tuple(s.sample_id for s in samples(40))
    assert content(killed) == content(tmp_path / "whole")
    assert json.loads((killed / "run.json").read_text())["prompt"] == "plain"


def killed_with_its_images(tmp_path: Path, out: Path, rng: random.Random) -> bool:
    """Start labelling and kill -9 it some time after its first progress; True when it had finished."""
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.12))
        process.kill()
        process.stdout.read()  # ends when the second process, which holds the pipe too, has ended
    return process.returncode == 0
