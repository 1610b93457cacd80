"""The settings among which certificates are looked for, fixed before ``certify`` is looked at."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from router.certificates import FULL, Setting
from router.escalation import Escalation
from router.prices import Prices
from training.evaluation.settings import PRICES

_BELOW_ZERO = -np.geomspace(2e-3, 1e-6, 20)
"""At the first, the 432 tokens from scale 144 to 576 earn nearly all the score that there is; at the last,
next to nothing: a smaller scale is taken wherever it is expected to score higher."""

THRESHOLDS = (-0.4, -0.2, -0.1, -0.05, -0.02, -0.01, 0.0, 0.01, 0.02, 0.05)
"""What another pass of a cascade must be worth beyond its price; below 0, what it may lack."""

CASCADES: tuple[Setting, ...] = tuple(
    Setting(*pair) for pair in itertools.product((*_BELOW_ZERO.tolist(), *sorted(PRICES[::2])), THRESHOLDS)
)
"""Prices alone would not do: a cascade that is to lose little may start cheap and go on readily, or start
dear and stay."""


def price_path(prices: Prices) -> tuple[Setting, ...]:
    """From the full scale over prices below 0, at which a token earns a little, to those of the bundle's
    table, which were set on ``tune``: the last one buys only the smallest scale."""
    return (FULL, *(Setting(price) for price in (*_BELOW_ZERO.tolist(), *prices.prices)))


def cascade_path(escalation: Escalation | None) -> tuple[Setting, ...]:
    """From the full scale along the path that was fixed with the second look; empty without one."""
    return (FULL, *escalation.path) if escalation is not None and escalation.path else ()


def pareto(lost: NDArray[np.float64], spent: NDArray[np.float64], full: float) -> list[int]:
    """The settings that nothing beats in both: the one that loses least first, then ever cheaper ones.

    lost, spent: [K]; settings that spend as much as ``full``, the full scale, are left out.
    """
    front: list[int] = []
    for k in np.lexsort((spent, lost)).tolist():  # of equals the cheapest first
        if spent[k] < (spent[front[-1]] if front else full):
            front.append(k)
    return front
