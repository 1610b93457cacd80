"""One search for all training seeds: fits with the first seed search, and the others take what they found.

A search, and folds that tell how many trees or epochs are right, are five of a fit's six parts, and seeds
seldom disagree about them by more than noise. What seeds differ by therefore leaves them out, which the page
says. Who learns more from folds than a number goes through them with every seed: candidates made of others,
and those that they are made of, whose fits serve both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from training.candidates.base import settled
from training.comparing.fits import Fit
from training.comparing.fitting import Fitter, Told
from training.comparing.jobs import Job, identity, parts_of


def run(fitter: Fitter, jobs: Sequence[Job], told: Told, again: Sequence[str] = ()) -> list[Fit]:
    """The fits of ``jobs`` as of `Fitter.run`, those with the lowest seed first.

    The others' jobs hold the settings that were found, so that the fits that are kept are theirs alone, and
    an interrupted run comes to the same jobs again. Where the first fit failed, they search for themselves.
    """
    if not jobs:
        return []
    first = min(job.seed for job in jobs)
    fits = fitter.run([job for job in jobs if job.seed == first], told, again)
    found = {(fit.about.name, fit.about.variant): fit.about.notes for fit in fits}

    shared = {identity(part) for job in jobs for part in parts_of(job.candidate)}

    def known(job: Job) -> Job:
        notes = found.get((job.candidate.name, job.variant), {})
        # Folds' rounds come from images that are compared on with another seed.
        rounds = not fitter.tables.folds and identity(job.candidate) not in shared
        return replace(job, candidate=settled(job.candidate, notes, rounds=rounds))

    rest = [known(job) for job in jobs if job.seed != first]
    return [*fits, *fitter.run(rest, told, again)]
