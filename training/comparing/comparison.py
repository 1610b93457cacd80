"""A whole comparison: the fits that it needs, made or found, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from training.candidates.base import Candidate, by_name, settled
from training.comparing import one_search
from training.comparing.ablation import Ablated, ablated, ablation_jobs
from training.comparing.fits import Fit
from training.comparing.fitting import Failure, Fitter, Told
from training.comparing.jobs import Job
from training.comparing.learning_curve import Labels, learning_curve, learning_jobs
from training.comparing.proofs import Proof, proofs
from training.comparing.scorer import Scorer
from training.comparing.standings import Standings, standings
from training.comparing.tables import Tables

Key = TypeVar("Key", str, float)


class ComparisonError(ValueError):
    """A comparison that cannot be made; the message has the remedy."""


@dataclass(frozen=True)
class Wanted:
    """What to compare. main: whom differences are to. seeds: training seeds, from 0 on. simulate: calibration
    sets that certificates are drawn from, 0 for none."""

    candidates: Sequence[Candidate]
    main: str
    seeds: int = 5
    ablate: bool = False
    learning: bool = False
    simulate: int = 0
    again: Sequence[str] = ()


@dataclass(frozen=True)
class Comparison:
    """Everything that is told. failures: fits that could not be made; commits: those that fits are from."""

    tables: Tables
    wanted: Wanted
    standings: Standings
    failures: tuple[Failure, ...]
    ablation: tuple[Ablated, ...]
    learning: tuple[Labels, ...]
    proofs: tuple[Proof, ...]
    draws: int
    seed: int
    provenance: Mapping[str, Any]
    commits: tuple[str | None, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every candidate was fitted with every seed."""
        return not self.failures

    @property
    def dataset(self) -> str:
        return str(self.tables.table.manifest.get("dataset", "")) or "data set without a name"


def compare(
    fitter: Fitter,
    wanted: Wanted,
    provenance: Mapping[str, Any],
    *,
    draws: int = 1000,
    seed: int = 0,
    told: Told = lambda line: None,
) -> Comparison:
    """Fit what is missing, then measure all of it on the same resamples.

    Raises `ComparisonError` when the main candidate cannot be fitted, `OSError` where a fit cannot be kept.
    """
    main = by_name(wanted.main, wanted.candidates)
    seeds = range(wanted.seeds)
    order = {candidate.name: place for place, candidate in enumerate(wanted.candidates)}
    if wanted.ablate:
        ablation_jobs(main, seeds)  # one without groups is refused before anything is fitted
    fractions = learning_jobs(main, seeds) if wanted.learning else {}
    jobs = [Job(c, s) for c in wanted.candidates for s in seeds]
    fits = _by_name(one_search.run(fitter, jobs, told, wanted.again))
    if main.name not in fits:
        why = next(failure.error for failure in fitter.failures if failure.name == main.name)
        raise ComparisonError(
            f"{main.name} could not be fitted ({why}), and differences are to it: mend it, or name another "
            "with --main."
        )
    found = settled(main, fits[main.name][0].about.notes, rounds=True)
    without = ablation_jobs(found, seeds) if wanted.ablate else {}
    fits_without = _grouped(without, lambda jobs: fitter.run(jobs, told, wanted.again))
    fits_of_fractions = _grouped(fractions, lambda jobs: one_search.run(fitter, jobs, told, wanted.again))
    told("comparing")
    scorer = Scorer(fitter.tables, tolerance=fitter.tolerance, draws=draws, seed=seed)
    return Comparison(
        tables=fitter.tables,
        wanted=wanted,
        standings=standings(scorer, fits, main.name),
        failures=tuple(sorted(fitter.failures, key=lambda failure: order[failure.name])),
        ablation=ablated(scorer, fits[main.name], fits_without),
        learning=learning_curve(scorer, fitter.tables, fits_of_fractions),
        proofs=_proofs(fits, fitter.tables, wanted, main.name, told),
        draws=draws,
        seed=seed,
        provenance=provenance,
        commits=tuple({fit.about.commit for ones in fits.values() for fit in ones}),
    )


def _proofs(
    fits: Mapping[str, Sequence[Fit]], tables: Tables, wanted: Wanted, main: str, told: Told
) -> tuple[Proof, ...]:
    if not wanted.simulate:
        return ()
    told(f"certifying everyone on {wanted.simulate} calibration sets")
    return proofs(fits, tables.table, main, wanted.simulate)


def _by_name(fits: Sequence[Fit]) -> dict[str, list[Fit]]:
    found: dict[str, list[Fit]] = {}
    for fit in fits:
        found.setdefault(fit.about.name, []).append(fit)
    return found


def _grouped(
    jobs: Mapping[Key, Sequence[Job]], run: Callable[[Sequence[Job]], list[Fit]]
) -> dict[Key, list[Fit]]:
    """The fits of every group of jobs, each of a variant of its own; a group of which none could be made is
    left out."""
    fits = run([job for some in jobs.values() for job in some])
    found = {key: [fit for fit in fits if fit.about.variant == some[0].variant] for key, some in jobs.items()}
    return {key: ones for key, ones in found.items() if ones}
