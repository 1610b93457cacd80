"""One fit to make: a candidate, a training seed, and how much of router-train it may see."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.records import OutcomeTable
from training.candidates.base import Candidate, Composed


@dataclass(frozen=True)
class Job:
    """variant: what is special about this fit, "" for nothing. fraction: share of router-train's images."""

    candidate: Candidate
    seed: int
    variant: str = ""
    fraction: float = 1.0

    @property
    def label(self) -> str:
        """What the fit is called in messages."""
        return ", ".join(filter(None, [self.candidate.name, self.variant, f"seed {self.seed}"]))

    def key(self, tables: str, tolerance: float) -> str:
        """Hash of all that the result follows from, but for the code. tables: their fingerprint."""
        content = [identity(self.candidate), self.seed, self.fraction, tables, tolerance]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def file_name(self, tables: str, tolerance: float) -> str:
        words = re.sub(r"[^a-z0-9]+", "-", f"{self.candidate.name} {self.variant}".lower()).strip("-")
        return f"{words}-seed-{self.seed}-{self.key(tables, tolerance)}.npz"


def together(jobs: Sequence[Job]) -> list[list[int]]:
    """Places of jobs in groups that share fits (`training.candidates.base.Composed`), the parts first.

    A group's jobs are of one seed and fraction; most are alone. Groups come in the order of their first jobs.
    """
    groups: list[tuple[set[str], list[int]]] = []
    for at, job in enumerate(jobs):
        with_seed = f" {job.seed} {job.fraction}"
        mine = {identity(each) + with_seed for each in (job.candidate, *parts_of(job.candidate))}
        known = [group for group in groups if group[0] & mine]
        first, *others = known or [(set[str](), list[int]())]
        first[0].update(mine, *(names for names, _ in others))
        first[1].extend([place for _, places in others for place in places] + [at])
        groups = [group for group in groups if group not in others] + ([] if known else [first])
    return [sorted(places, key=lambda at: (len(parts_of(jobs[at].candidate)), at)) for _, places in groups]


def parts_of(candidate: Candidate) -> Sequence[Any]:
    """The candidates that it is made of; of most none."""
    return candidate.parts if isinstance(candidate, Composed) else ()


def subset(table: OutcomeTable, rows: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.int64]:
    """The ``rows`` of ``table`` about a random ``fraction`` of their images; for a seed, a smaller fraction's
    images are among a larger one's."""
    if fraction >= 1.0:
        return rows
    images = np.unique(table.image_index[rows])
    kept = np.random.default_rng(seed).permutation(images)[: max(1, round(fraction * len(images)))]
    return rows[np.isin(table.image_index[rows], kept)]


def identity(candidate: Candidate) -> str:
    """The candidate's kind and settings as text; equal in every process."""
    kind = type(candidate)
    settings = repr(candidate) if dataclasses.is_dataclass(candidate) else candidate.name
    return f"{kind.__module__}.{kind.__qualname__} {re.sub(' at 0x[0-9a-f]+', '', settings)}"
