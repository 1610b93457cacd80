"""What each group of route inputs is worth: the main candidate fitted without it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

from training.candidates.base import Candidate
from training.comparing.fits import Fit
from training.comparing.jobs import Job
from training.comparing.scorer import Scorer
from training.evaluation.comparison import Estimate


@dataclass(frozen=True)
class Ablated:
    """The main candidate without one group. area: mean accuracy over log tokens; over: minus that with it."""

    group: str
    area: Estimate
    over: Estimate


def ablation_jobs(main: Candidate, seeds: Sequence[int]) -> dict[str, list[Job]]:
    """Group -> a job per seed. Raises ValueError for a candidate whose groups cannot be switched off."""
    if not _can_do_without(main):
        raise ValueError(
            f"{main.name} has no groups of features to switch off: take one that has, like "
            "lightgbm_per_scale, as --main, or leave --ablate out."
        )
    return {
        group: [Job(without(main, group), seed, f"without {group}") for seed in seeds]
        for group in main.groups
    }


@runtime_checkable
class Reading(Protocol):
    """A candidate that reads what one of its parts reads, and can be told what that is to be."""

    def reading(self, groups: tuple[str, ...]) -> Candidate: ...


def _can_do_without(main: Candidate) -> bool:
    known: list[str] = [f.name for f in dataclasses.fields(main)] if dataclasses.is_dataclass(main) else []
    return len(main.groups) > 1 and ("groups" in known or isinstance(main, Reading))


def without(main: Candidate, group: str) -> Candidate:
    """``main``, which may read all its groups but ``group``."""
    rest = tuple(name for name in main.groups if name != group)
    if isinstance(main, Reading):
        return main.reading(rest)
    return cast(Candidate, dataclasses.replace(cast(Any, main), groups=rest))


def ablated(scorer: Scorer, whole: Sequence[Fit], fits: Mapping[str, Sequence[Fit]]) -> tuple[Ablated, ...]:
    """whole: the main candidate's fits; fits: group -> those without it. The dearest loss comes first."""
    with_all = scorer.read(whole).area
    found = []
    for group, some in fits.items():
        area = scorer.read(some).area
        found.append(Ablated(group, area.estimate(), (area - with_all).estimate()))
    return tuple(sorted(found, key=lambda row: row.over.value))
