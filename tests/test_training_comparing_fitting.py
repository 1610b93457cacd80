"""The fits of a comparison: side by side, each made once, and what becomes of processes that die."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from router.predictor import Predictions
from tests.comparing import Failing, Noisy, compared, fitter
from training.candidates.base import Candidate, Examples, Fitted
from training.candidates.lookup import Lookup
from training.comparing.jobs import Job, together
from training.comparing.rows import as_json
from training.comparing.scorer import FIXED
from training.evaluation.comparison import HULL


def test_fits_that_run_side_by_side_are_those_of_one_after_the_other(tmp_path: Path) -> None:
    noisy, said = Noisy(), list[str]()
    alone = compared(tmp_path / "one", noisy, Failing(first=1), Lookup())
    assert noisy.fitted == [0, 1]
    fits = fitter(tmp_path / "two")
    fits.processes = 2
    beside = compared(tmp_path / "two", noisy, Failing(first=1), Lookup(), fits=fits, told=said.append)
    assert noisy.fitted == [0, 1]  # not in this process
    assert said.count("fitting 3, 2 at a time") == 2  # the first seed, then the other
    written = [{**as_json(each), "provenance": None} for each in (alone, beside)]
    for each in written:
        for row in each["candidates"]:
            row.pop("cpu_seconds_to_fit")
    assert written[0] == written[1]
    assert [f.label for f in beside.failures] == ["failing, seed 1"]


@dataclasses.dataclass(frozen=True)
class Doubled:
    """As its part says, with the seed of its fit seen."""

    name: str = "doubled"
    groups: tuple[str, ...] = ("length",)
    inner: Noisy = dataclasses.field(default_factory=Noisy)

    @property
    def parts(self) -> tuple[Noisy, ...]:
        return (self.inner,)

    def fit(self, examples: Examples, *, seed: int, threads: int) -> Fitted:
        fitted = [self.inner.fit(examples, seed=seed, threads=threads)]
        return self.fit_from(examples, fitted, seed=seed, threads=threads)

    def fit_from(self, examples: Examples, fitted: Sequence[Fitted], *, seed: int, threads: int) -> Fitted:
        return fitted[0]


def test_a_fit_that_is_a_part_of_another_is_made_once_for_both(tmp_path: Path) -> None:
    noisy = Noisy()
    got = compared(tmp_path / "both", Doubled(inner=noisy), noisy, Lookup())
    assert noisy.fitted == [0, 1]
    (tmp_path / "alone").mkdir()
    alone = compared(tmp_path / "alone", Doubled(inner=noisy))
    assert noisy.fitted == [0, 1, 0, 1]
    doubled = got.standings.of("doubled").area
    for other in (got.standings.of("noisy").area, alone.standings.of("doubled").area):
        assert float(other.value) == float(doubled.value)


def test_jobs_that_share_fits_follow_each_other_with_the_parts_first() -> None:
    noisy, other = Noisy(), Noisy(name="other")
    some: list[Candidate] = [Doubled(inner=noisy), Lookup(), noisy, Doubled(name="third", inner=other), other]
    jobs = [Job(candidate, seed) for candidate in some for seed in (0, 1)]
    assert together(jobs) == [[4, 0], [5, 1], [2], [3], [8, 6], [9, 7]]
    bridge = Ensembled((noisy, other))
    joined = [Job(each, 0) for each in (noisy, other, bridge)]
    assert together(joined) == [[0, 1, 2]]
    assert together([*joined, Job(noisy, 0, "1/2", 0.5)]) == [[0, 1, 2], [3]]


@dataclasses.dataclass(frozen=True)
class Ensembled:
    parts: tuple[Noisy, ...]
    name: str = "ensembled"
    groups: tuple[str, ...] = ("length",)

    def fit(self, examples: Examples, *, seed: int, threads: int) -> Fitted:
        return self.parts[0].fit(examples, seed=seed, threads=threads)

    def fit_from(self, examples: Examples, fitted: Sequence[Fitted], *, seed: int, threads: int) -> Fitted:
        return fitted[0]


@dataclasses.dataclass(frozen=True)
class Counting:
    """Notes how many threads products of matrices may take where it is fitted."""

    name: str = "counting"
    groups: tuple[str, ...] = ("length",)

    def fit(self, examples: Examples, *, seed: int, threads: int) -> Fitted:
        import torch
        from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

        pools = [pool["num_threads"] for pool in threadpool_info()]
        return Counted(Lookup().fit(examples), {"torch": torch.get_num_threads(), "pools": pools})


@dataclasses.dataclass(frozen=True)
class Counted:
    inner: Fitted
    notes: dict[str, object]

    def predict(self, examples: Examples) -> Predictions:
        return self.inner.predict(examples)


def test_fits_side_by_side_have_one_thread_each(tmp_path: Path) -> None:
    fits = fitter(tmp_path)
    fits.processes = 2
    for fit in fits.run([Job(Counting(), 0), Job(Counting(), 1)], lambda line: None):
        assert fit.about.notes["torch"] == 1
        assert fit.about.notes["pools"]
        assert set(fit.about.notes["pools"]) == {1}


@dataclasses.dataclass(frozen=True)
class Dying:
    """Ends its process, as the system does with one that takes all of the memory."""

    name: str = "dying"
    groups: tuple[str, ...] = ("length",)

    def fit(self, examples: Examples, *, seed: int, threads: int) -> Fitted:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


def test_a_fit_that_takes_its_process_with_it_does_not_stop_the_others(tmp_path: Path) -> None:
    fits = fitter(tmp_path)
    fits.processes = 2
    got = compared(tmp_path, Noisy(), Dying(), Lookup(), fits=fits, seeds=1)
    assert {row.name for row in got.standings.rows} == {"noisy", "lookup", HULL, FIXED}
    assert [f.label for f in got.failures] == ["dying, seed 0"]
    assert "ended without a word" in got.failures[0].error


@dataclasses.dataclass(frozen=True)
class DyingOnce:
    """Ends its process the first time. place: a folder that remembers it."""

    place: str
    name: str = "dying_once"
    groups: tuple[str, ...] = ("length",)

    def fit(self, examples: Examples, *, seed: int, threads: int) -> Fitted:
        tries = Path(self.place, f"tried-{seed}")
        if not tries.exists():
            tries.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Lookup().fit(examples)


def test_a_fit_whose_process_was_killed_is_made_again_in_another_one(tmp_path: Path) -> None:
    fits = fitter(tmp_path)
    fits.processes = 2
    jobs = [Job(DyingOnce(str(tmp_path)), 0), Job(Noisy(), 0), Job(Lookup(), 0)]
    made = fits.run(jobs, lambda line: None)
    assert [fit.about.name for fit in made] == ["dying_once", "noisy", "lookup"]
    assert fits.failures == []


@dataclasses.dataclass(frozen=True)
class DyingIdle:
    """Its process ends when the fit was handed over. place: a folder that tells which one it is."""

    place: str
    name: str = "dying_idle"
    groups: tuple[str, ...] = ("length",)

    def fit(self, examples: Examples, *, seed: int, threads: int) -> Fitted:
        threading.Thread(target=self._die_when_idle, daemon=True).start()
        return Lookup().fit(examples)

    def _die_when_idle(self) -> None:
        Path(self.place, str(os.getpid())).touch()
        while not _waits_for_work():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)


def _waits_for_work() -> bool:
    """Whether the main thread of a pool's process has handed over its last result."""
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    return any(each.f_code.co_name == "get" for each, _ in traceback.walk_stack(frame))


def test_a_process_that_dies_between_two_fits_costs_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "pids").mkdir()
    fits = fitter(tmp_path)
    fits.processes = 2

    def told(line: str) -> None:
        if "lookup" in line:  # its result waits to be written until the other process is dead
            (pid,) = _until(lambda: [int(each.name) for each in (tmp_path / "pids").iterdir()], 1)
            assert not _until(lambda: [pid] if _runs(pid) else [], 0)

    jobs = [Job(Lookup(), 0), Job(DyingIdle(str(tmp_path / "pids")), 0), Job(Noisy(), 0), Job(Noisy(), 1)]
    made = fits.run(jobs, told)
    assert [fit.about.name for fit in made] == ["lookup", "dying_idle", "noisy", "noisy"]
    assert fits.failures == []


@dataclasses.dataclass(frozen=True)
class Endless:
    """Says which process it is in, and then fits for as long as anybody lets it. place: a folder."""

    place: str
    name: str = "endless"
    groups: tuple[str, ...] = ("length",)

    def fit(self, examples: Examples, *, seed: int, threads: int) -> Fitted:
        Path(self.place, str(os.getpid())).touch()
        time.sleep(600)  # longer than the test waits
        raise AssertionError("unreachable")


def test_a_comparison_that_is_killed_leaves_no_process_that_goes_on_fitting(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path; import sys\n"
        "from tests.comparing import fitter\n"
        "from tests.test_training_comparing_fitting import Endless\n"
        "from training.comparing.jobs import Job\n"
        "if __name__ == '__main__':\n"
        "    fits = fitter(Path(sys.argv[1]))\n"
        "    fits.processes = 2\n"
        "    fits.run([Job(Endless(sys.argv[2]), seed) for seed in (0, 1)], print)\n"
    )
    (tmp_path / "run.py").write_text(script)
    (tmp_path / "pids").mkdir()
    command = [sys.executable, str(tmp_path / "run.py"), str(tmp_path), str(tmp_path / "pids")]
    root = Path(__file__).parent.parent
    with subprocess.Popen(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}) as running:
        pids = _until(lambda: [int(each.name) for each in (tmp_path / "pids").iterdir()], 2)
        running.kill()
    assert len(pids) == 2, "it did not begin to fit"
    assert not _until(lambda: [pid for pid in pids if _runs(pid)], 0)


def _runs(pid: int) -> bool:
    """Whether there is such a process, other than one that ended and that nobody has asked about."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def _until(found: Callable[[], list[int]], n: int) -> list[int]:
    """What is found as soon as there are ``n``, or after a long while."""
    for _ in range(1200):
        if len(found()) == n:
            break
        time.sleep(0.1)
    return found()
