"""How much labels buy: the main candidate fitted on fractions of router-train, drawn by image.

Labels have a price: every image is encoded once and every question answered at every scale. It is given in
GPU-hours at the shape of LLaVA-1.5-7B (`training.evaluation.pricing`). Calibration sees all of tune at every
point; its labels are not in the price.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from m3_backbone.cost import Architecture
from training.candidates.base import Candidate
from training.comparing.fits import Fit
from training.comparing.jobs import Job, subset
from training.comparing.scorer import Scorer
from training.comparing.tables import Tables
from training.evaluation.comparison import Estimate
from training.evaluation.pricing import gpu_hours, labelling_flops

FRACTIONS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)


@dataclass(frozen=True)
class Labels:
    """One point of the curve. area: mean accuracy over log tokens; over: minus that with all labels.

    pairs, images: fitted on; gpu_hours: to label them at the 7B shape.
    """

    fraction: float
    pairs: int
    images: int
    gpu_hours: float
    area: Estimate
    over: Estimate


def learning_jobs(main: Candidate, seeds: Sequence[int]) -> dict[float, list[Job]]:
    """Fraction -> a job per seed, whose images differ with the seed; all labels are the plain jobs."""
    return {
        fraction: [Job(main, seed, _variant(fraction), fraction) for seed in seeds] for fraction in FRACTIONS
    }


def _variant(fraction: float) -> str:
    return "" if fraction == 1.0 else f"{fraction:g} of the images"


def learning_curve(scorer: Scorer, tables: Tables, fits: Mapping[float, Sequence[Fit]]) -> tuple[Labels, ...]:
    """fits: fraction -> one per seed, all labels among them."""
    areas = {fraction: scorer.read(ones).area for fraction, ones in fits.items()}
    shape, found = Architecture.llava_7b(), []
    for fraction, ones in fits.items():
        first = ones[0].about
        part, _ = next(tables.parts(first.seed))
        labelled = tables.train.take(subset(tables.train, part, fraction, first.seed))
        found.append(
            Labels(
                fraction,
                round(np.mean([fit.about.pairs for fit in ones])),
                round(np.mean([fit.about.images for fit in ones])),
                gpu_hours(labelling_flops(labelled, shape)),
                areas[fraction].estimate(),
                (areas[fraction] - areas[1.0]).estimate(),
            )
        )
    return tuple(found)
