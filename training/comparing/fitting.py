"""Makes the fits that are missing; a candidate that fails does not stop the others.

Fits that run side by side do so in processes: Python's lock hardly lets small networks run in threads.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import chain
from multiprocessing import get_context, parent_process

from training.comparing.fits import Fit, Fits
from training.comparing.jobs import Job, together
from training.comparing.maker import Maker
from training.comparing.tables import Tables

Told = Callable[[str], None]


@dataclass(frozen=True)
class Failure:
    """A fit that could not be made: the candidate, the job's label, and the error in a line."""

    name: str
    label: str
    error: str


@dataclass
class Fitter:
    """Fits jobs on ``tables``, or takes their results from ``fits``.

    tolerance: of `OutcomeTable.sufficient`. processes: fits side by side, which changes no result.
    failures: what could not be fitted so far; it is tried again in the next run. also: the same ``tables``,
    but for the compared one, over which every fit is replayed, too: their results are kept beside the others.
    """

    tables: Tables
    fits: Fits
    tolerance: float = 0.0
    processes: int = 1
    failures: list[Failure] = field(default_factory=list)
    also: tuple[Tables, ...] = ()

    def __post_init__(self) -> None:
        self._fingerprint, *self._others = (one.fingerprint for one in (self.tables, *self.also))
        self._fresh: set[str] = set()  # files that were made by this one

    def run(self, jobs: Sequence[Job], told: Told, again: Sequence[str] = ()) -> list[Fit]:
        """The fits of ``jobs`` in their order, without those that failed.

        again: names of candidates that are fitted anew, once, because their code has changed. Raises
        `OSError` where a result cannot be written.
        """
        names = [job.file_name(self._fingerprint, self.tolerance) for job in jobs]
        beside = [[job.file_name(other, self.tolerance) for other in self._others] for job in jobs]
        found = [
            None if job.candidate.name in again and name not in self._fresh else self._kept(name, others)
            for job, name, others in zip(jobs, names, beside, strict=True)
        ]
        missing = [at for at, fit in enumerate(found) if fit is None]
        failed: dict[int, Failure] = {}
        for done, (which, made) in enumerate(self._made([jobs[at] for at in missing], told), 1):
            at = missing[which]
            job, which_of = jobs[at], f"{done} of {len(missing)}"
            if isinstance(made, str):
                failed[at] = Failure(job.candidate.name, job.label, made)
                told(f"{which_of}: {job.label} failed: {made}")
                continue
            found[at], *others = made
            for name, fit in zip((*beside[at], names[at]), (*others, made[0]), strict=True):
                self.fits.write(name, fit)  # that of the compared table last: with it, all are there
            self._fresh.add(names[at])
            told(f"{which_of}: {job.label}, {made[0].about.seconds:.0f} s of CPU time")
        self.failures += [failed[at] for at in sorted(failed)]
        return [fit for fit in found if fit is not None]

    def _kept(self, name: str, beside: Sequence[str]) -> Fit | None:
        """The fit in the file ``name``; None unless those ``beside`` are there and of the same fit."""
        fit = self.fits.read(name)
        if fit is None:
            return None
        others = [self.fits.read(other) for other in beside]
        same = all(other is not None and other.about.created == fit.about.created for other in others)
        return fit if same else None

    def _made(self, jobs: Sequence[Job], told: Told) -> Iterator[tuple[int, list[Fit] | str]]:
        """(place among ``jobs``, the fits of `Maker.make` or the error in a line), as they get ready."""
        groups = together(jobs)
        if self.processes < 2 or len(jobs) < 2:
            maker = Maker(self.tables, self.tolerance, self.also)
            for at in chain.from_iterable(groups):
                told(f"fitting {jobs[at].label}")
                yield at, _attempt(maker, jobs[at])
            return
        told(f"fitting {len(jobs)}, {self.processes} at a time")
        waiting = deque(groups)
        again: set[int] = set()  # whose process has died with them once
        running: dict[Future[list[Fit] | str], tuple[ProcessPoolExecutor, list[int]]] = {}

        def begin(process: ProcessPoolExecutor, places: list[int]) -> None:
            try:
                future = process.submit(_work, jobs[places[0]])
            except BrokenExecutor:  # killed since its last fit, which it had handed over: nothing is lost
                processes.append(process := self._process())
                future = process.submit(_work, jobs[places[0]])
            running[future] = process, places

        processes = [self._process() for _ in range(min(self.processes, len(groups)))]
        try:
            for process in processes:
                begin(process, waiting.popleft())
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    process, (at, *rest) = running.pop(future)
                    try:
                        made = future.result()
                    except BrokenExecutor:  # killed, most likely for its memory
                        processes.append(process := self._process())
                        if at not in again:  # it may have been dead when it was asked
                            again.add(at)
                            begin(process, [at, *rest])
                            continue
                        made = "its process ended without a word, twice: is there enough memory?"
                    if rest or waiting:
                        begin(process, rest or waiting.popleft())  # before this one is written
                    yield at, made
        finally:
            for process in processes:
                process.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.shutdown()

    def _process(self) -> ProcessPoolExecutor:
        """A process of its own, for jobs of one group must follow each other there."""
        context = get_context("spawn")
        given = (self.tables, self.tolerance, self.also)
        return ProcessPoolExecutor(1, context, initializer=_begin, initargs=given)


def _attempt(maker: Maker, job: Job) -> list[Fit] | str:
    try:
        return maker.make(job)
    except Exception as error:  # whatever it is, it is this candidate's
        told = " ".join(str(error).split())
        return f"{type(error).__name__}: {told}" if told else type(error).__name__


_maker: Maker  # of a process that fits; the one that asks has none


def _begin(tables: Tables, tolerance: float, also: tuple[Tables, ...]) -> None:
    global _maker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _take_one_core()
    _maker = Maker(tables, tolerance, also)


def _take_one_core() -> None:
    """Products of matrices in numpy, scipy and torch would take a thread per core, in every process; LightGBM
    has one anyway (`training.candidates.boosting`)."""
    import torch
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it comes with scikit-learn

    torch.set_num_threads(1)
    threadpool_limits(1)


def _end_with_parent() -> None:
    """A comparison that is killed leaves no process behind that goes on fitting."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(job: Job) -> list[Fit] | str:
    return _attempt(_maker, job)
