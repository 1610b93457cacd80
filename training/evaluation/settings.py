"""A policy under a sequence of settings, replayed over a table: which scale each sample gets.

Every policy compared here spends by a price: a sample gets argmax expected score - price x cost (the
`utility` policy). What differs is where expected scores come from: a router's predictor, or the means
of a lookup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

POINTS = 40
"""Settings kept along a frontier; evenly spaced in log cost, far denser than what anyone chooses from."""

_PRICES = np.concatenate([[0.0], np.geomspace(1e-7, 10.0, 160), [np.inf]])[::-1]


@dataclass(frozen=True)
class Settings:
    """K settings of one policy over n samples, cheapest first.

    target_is: what a target means ("price per visual token", "mean visual tokens", "scale").
    choices: [K, n] index of the scale that each sample gets.
    charge: what each request pays besides the scale's own cost (the router's FLOPs), by cost name.
    """

    name: str
    target_is: str
    targets: tuple[float, ...]
    choices: NDArray[np.int8]
    charge: Mapping[str, float] = field(default_factory=dict)


def choose(expected: NDArray[np.floating], cost: NDArray[np.floating], price: float) -> NDArray[np.int8]:
    """[n] index of argmax expected score - price x cost over the scales; ties go to the cheaper scale.

    expected, cost: [n, S], scales in rising order of cost. An infinite price asks for the cheapest scale.
    """
    if np.isinf(price):
        return np.zeros(len(expected), np.int8)
    return np.asarray((expected - price * cost).argmax(axis=1), np.int8)


def at_prices(
    name: str,
    expected: NDArray[np.floating],
    cost: NDArray[np.floating],
    prices: Sequence[float],
    charge: Mapping[str, float] | None = None,
) -> Settings:
    """The policy ``name`` replayed at given prices per visual token."""
    choices = np.stack([choose(expected, cost, price) for price in prices])
    return Settings(name, "price per visual token", tuple(map(float, prices)), choices, dict(charge or {}))


def sweep_prices(
    expected: NDArray[np.floating], cost: NDArray[np.floating], points: int = POINTS
) -> tuple[float, ...]:
    """Prices whose settings cover the whole frontier, cheapest first: Lagrangian sweep without labels.

    expected, cost: [n, S]. Both ends are kept: an infinite price (the cheapest scale for all) and price 0
    (the best expected score whatever it costs).
    """
    rows = np.arange(len(expected))
    spent = np.array([cost[rows, choose(expected, cost, p)].mean() for p in _PRICES])
    log = np.log(np.maximum(spent, 1e-9))
    wanted = np.linspace(log[0], log[-1], points)
    kept = sorted({int(np.abs(log - w).argmin()) for w in wanted} | {0, len(_PRICES) - 1})
    # Two prices that spend the same on every sample are one setting.
    distinct = [k for at, k in enumerate(kept) if at == 0 or spent[k] > spent[kept[at - 1]]]
    return tuple(_PRICES[distinct].tolist())


def fixed_settings(scales: Sequence[int], n: int) -> Settings:
    """Every scale of the ladder given to all ``n`` samples."""
    choices = np.repeat(np.arange(len(scales), dtype=np.int8)[:, None], n, axis=1)
    return Settings("fixed", "scale", tuple(map(float, scales)), choices)
