"""How many tokens the questions of a data set need: zones, the oracle's choices, where more tokens do worse.

This is the paper's second use of M3 (arXiv 2405.17430, section 4): the model as a ruler for data. All of
it is of one replicate, so that lucky answers count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.records import OutcomeTable
from training.evaluation.comparison import Estimate
from training.evaluation.oracle import ZONES, Oracle
from training.evaluation.resampling import measure_weighted
from training.evaluation.settings import Settings

_EPS = 1e-9  # scores are sums of tenths


@dataclass(frozen=True)
class Granularity:
    """Shares of questions with their intervals by image.

    zones: by name. settled: all-right or all-wrong, so that no router changes the answer's score.
    non_monotone: the score falls somewhere on the ladder. choice: scale -> share of the answered questions
    (those with a sufficient scale) whose smallest sufficient scale it is; NaN where none is answered.
    """

    zones: Mapping[str, Estimate]
    settled: Estimate
    non_monotone: Estimate
    choice: Mapping[int, Estimate]

    @classmethod
    def of(cls, table: OutcomeTable, oracle: Oracle, *, draws: int, seed: int) -> Granularity:
        zones = {name: oracle.zones == z for z, name in enumerate(ZONES)}
        of_all = {
            **zones,
            "settled": zones["all-right"] | zones["all-wrong"],
            "non-monotone": falls_somewhere(table.scores),
        }
        choices = {str(scale): oracle.choice == s for s, scale in enumerate(table.scales)}
        shares, chosen = _shares(of_all | choices, table.image_index, oracle.choice >= 0, draws, seed)
        return cls(
            zones={name: shares[name] for name in ZONES},
            settled=shares["settled"],
            non_monotone=shares["non-monotone"],
            choice={scale: chosen[str(scale)] for scale in table.scales},
        )


def falls_somewhere(scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[n] whether a score of [n, S] is lower than that of the next smaller scale."""
    return np.asarray((np.diff(scores, axis=1) < -_EPS).any(axis=1))


def choice_shares(choice: NDArray[np.int64], n_scales: int) -> tuple[float, ...]:
    """Share of the answered questions whose oracle scale is each scale. choice: `Oracle.choice`."""
    answered = choice[choice >= 0]
    if not answered.size:
        return (float("nan"),) * n_scales
    return tuple((np.bincount(answered, minlength=n_scales) / answered.size).tolist())


def _shares(
    members: Mapping[str, NDArray[np.bool_]],
    image_index: NDArray[np.int64],
    among: NDArray[np.bool_],
    draws: int,
    seed: int,
) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """Share of every group in all questions, and in those ``among`` alone."""
    columns = np.stack(list(members.values()), axis=1).astype(np.float64)
    n, k = columns.shape
    each = np.repeat(np.arange(k, dtype=np.int8)[:, None], n, axis=1)
    # Where there are none, there are no shares of them, and any weights do.
    weights = [np.ones(n), (among if among.any() else ~among).astype(np.float64)]
    (of_all,), (of_some,) = measure_weighted(
        [Settings("share", "", tuple(map(float, range(k))), each)],
        columns,
        {},
        image_index,
        weights,
        draws=draws,
        seed=seed,
    )
    nan = float("nan")
    # A resample may hold none of ``among`` at all; it says nothing about shares of them.
    known = of_some.accuracy_draws[~np.isnan(of_some.accuracy_draws).any(axis=1)]
    return (
        {
            name: Estimate.of(of_all.accuracy[i], of_all.accuracy_draws[:, i])
            for i, name in enumerate(members)
        },
        {
            name: Estimate.of(of_some.accuracy[i], known[:, i]) if among.any() else Estimate(nan, nan, nan)
            for i, name in enumerate(members)
        },
    )
