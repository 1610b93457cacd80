"""Outcome tables whose answers say how sure they are, and a second look fitted on them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from data.records import OutcomeTable
from tests.routing import outcomes
from training.calibrate import calibrated, fit_calibration
from training.candidates.base import Examples
from training.candidates.lightgbm_embeddings import lightgbm_embeddings
from training.candidates.lightgbm_per_scale import LightGBMPerScale
from training.candidates.lightgbm_shared import LightGBMShared
from training.escalation.candidates import FittedCascade, HybridCascade
from training.escalation.fit import FittedEscalation, fit_escalation
from training.fit import build_spec

_QUICK = {"grid": ({"num_leaves": 7, "min_data_in_leaf": 20},), "folds": 2, "rounds": 60}


def telling(n_images: int, *, split: str = "router-train", seed: int = 0) -> OutcomeTable:
    """`tests.routing.outcomes`, but a right answer is surer than a wrong one, most of the time.

    What a scale can do is luck in part there, which no router sees beforehand: only the answer tells.
    """
    table = outcomes(n_images, split=split, seed=seed)
    rng = np.random.default_rng([seed, len(split)])
    sure = 1 / (1 + np.exp(-(4 * table.scores - 2 + rng.normal(0, 0.7, table.scores.shape))))
    mean = np.log(sure).astype(np.float32)
    return replace(
        table,
        mean_logprob=mean,
        min_logprob=mean * np.float32(1.5),
        first_margin=(2 * sure - 1).astype(np.float32),
        answer_tokens=rng.integers(2, 5, table.scores.shape),
    )


def quick_hybrid() -> HybridCascade:
    """Fitted in a second or two."""
    return HybridCascade(
        first=LightGBMPerScale(groups=lightgbm_embeddings().groups, **_QUICK),  # type: ignore[arg-type]
        second=LightGBMShared(**_QUICK),  # type: ignore[arg-type]
    )


def examples(table: OutcomeTable) -> Examples:
    """The table with the features of all the tables made here."""
    return Examples.of(table, build_spec(telling(300), quick_hybrid().groups))


@cache
def small_hybrid() -> FittedCascade:
    """Fitted once per test run."""
    return quick_hybrid().fit(examples(telling(300)), seed=0, threads=1)


@cache
def small_escalation() -> FittedEscalation:
    """Its second look, calibrated on a small ``tune``."""
    first, tune = small_hybrid(), examples(telling(150, split="tune"))
    raw = first.predict(tune)
    maps = fit_calibration(raw, tune.sufficient, tune.scores, tune.groups, 0)
    return fit_escalation(
        first.examples,
        calibrated(maps, first.unseen),
        tune,
        calibrated(maps, raw),
        np.zeros(len(tune), np.bool_),
        threads=1,
        candidate=first.candidate.second,
    )
