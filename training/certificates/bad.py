"""Policies that are bad on purpose, which a simulation of certificates has to catch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.records import OutcomeTable
from router.predictor import Predictions
from training.certificates.losses import at_scales
from training.certificates.played import Played

BAD = "reversed"
"""The name of a policy that is bad on purpose."""
EDGE = "just above"
"""The name of one whose settings are as close to certifiable as a wrong one can be."""
BEYOND = 1e-3
"""How far beyond what is certified the risk of such a setting is."""


def reversed_scales(predictions: Predictions) -> Predictions:
    """Predictions that are wrong on purpose: what is said of the smallest scale is told of the largest."""
    return Predictions(
        np.ascontiguousarray(predictions.sufficient[:, ::-1]),
        np.ascontiguousarray(predictions.score[:, ::-1]),
        predictions.novelty,
    )


def just_above(table: OutcomeTable, epsilons: Sequence[float]) -> Played:
    """Bad on purpose where it is hardest to tell: at each of ``epsilons`` a setting whose regret in the
    population is just above it, so that violations come about as often as a tight test lets them.

    Samples are given the scale at which they lose most, in a random order, until the mean loss is there. An
    epsilon that not even all of them reach has no setting.
    """
    regret = at_scales(table, "regret")
    n, last = len(regret), len(table.scales) - 1
    worst = regret.argmax(axis=1)
    _, image, sizes = np.unique(table.image_index, return_inverse=True, return_counts=True)
    lost = regret[np.arange(n), worst] / sizes[image] / len(sizes)
    order = np.random.default_rng(0).permutation(np.flatnonzero(lost))
    risk = lost[order].cumsum()
    choices = [np.full(n, last, np.int8)]
    for epsilon in sorted(epsilons):
        flipped = order[: 1 + int(np.searchsorted(risk, epsilon + BEYOND))]
        if len(order) and risk[-1] > epsilon + BEYOND:
            choice = np.full(n, last, np.int8)
            choice[flipped] = worst[flipped]
            choices.append(choice)
    tokens = [table.visual_tokens[np.arange(n), choice] for choice in choices]
    return Played(table, np.stack(choices), np.stack(tokens).astype(np.float64))
