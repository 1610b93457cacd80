"""A policy under a sequence of settings, replayed over a table: which scale each sample gets.

Every policy compared here spends by a price: a sample gets argmax expected score - price x visual tokens
(`router.policy.utility`). What differs is where expected scores come from: a router's predictor, or the
means of a lookup. A `Replay` is such a policy with its predictions made: price -> choices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from router.policy import utility

Index = NDArray[np.int64]
Replay = Callable[[float], Index]
"""Price per visual token -> index of the scale of each of n samples."""

PRICE = "price per visual token"

POINTS = 40
"""Settings kept along a frontier, evenly spaced in log cost."""

PRICES: tuple[float, ...] = tuple(np.concatenate([[0.0], np.geomspace(1e-7, 2.0, 160)])[::-1].tolist())
"""What a sweep tries, cheapest first. Scores lie in [0, 1] and scales are at least one token apart: above a
price of 1 all get the cheapest scale."""


@dataclass(frozen=True)
class Settings:
    """K settings of one policy over n samples, cheapest first.

    target_is: what a target means ("price per visual token", "mean visual tokens", "scale").
    choices: [K, n] index of the scale that each sample gets.
    charge: what each request pays besides the scale's own cost (the router's FLOPs), by cost name.
    tried: [K, n, S] the scales that were answered at before the one in ``choices``, each charged; None: none.
    """

    name: str
    target_is: str
    targets: tuple[float, ...]
    choices: NDArray[np.int8]
    charge: Mapping[str, float] = field(default_factory=dict)
    tried: NDArray[np.bool_] | None = None

    @property
    def passes(self) -> NDArray[np.int64]:
        """[K, n] how often the language model runs, the last time included."""
        runs = np.ones(self.choices.shape, np.int64)
        return runs if self.tried is None else runs + self.tried.sum(axis=2)


def by_expected_score(expected: NDArray[np.floating], visual_tokens: NDArray[np.integer]) -> Replay:
    """The replay of a policy that is nothing but expected scores: both [n, S]."""
    return partial(utility, expected, visual_tokens.astype(np.float64))


def at_prices(
    name: str,
    replay: Replay,
    prices: Sequence[float],
    charge: Mapping[str, float] | None = None,
    *,
    knob: str = PRICE,
) -> Settings:
    """The policy ``name`` replayed at given prices, or at given values of another ``knob``."""
    choices = np.stack([replay(price).astype(np.int8) for price in prices])
    return Settings(name, knob, tuple(map(float, prices)), choices, dict(charge or {}))


def sweep(
    name: str,
    replay: Replay,
    visual_tokens: NDArray[np.integer],
    charge: Mapping[str, float] | None = None,
    points: int = POINTS,
    *,
    knob: str = PRICE,
    values: Sequence[float] | None = None,
) -> Settings:
    """The policy along its whole frontier: a Lagrangian sweep of prices, for which no label is looked at.

    visual_tokens: [n, S]. About ``points`` settings are kept, among them both ends: the cheapest scale
    for all, and the best expected score whatever it costs (price 0). values: of another knob than a
    price, cheapest first.
    """
    rows = np.arange(len(visual_tokens))
    swept = PRICES if values is None else tuple(map(float, values))
    choices = np.stack([replay(value).astype(np.int8) for value in swept])
    kept = spread_out(np.array([visual_tokens[rows, choice].mean() for choice in choices]), points)
    return Settings(name, knob, tuple(swept[k] for k in kept), choices[kept], dict(charge or {}))


def spread_out(spent: NDArray[np.float64], points: int = POINTS) -> list[int]:
    """About ``points`` of the settings, evenly spaced in the log of what they spend, both ends among them.

    spent: [K] mean cost, cheapest first. Of settings that spend the same the first is kept.
    """
    log = np.log(np.maximum(spent, 1e-9))
    wanted = np.linspace(log[0], log[-1], points)
    kept = sorted({int(np.abs(log - w).argmin()) for w in wanted} | {0, len(spent) - 1})
    return [k for at, k in enumerate(kept) if at == 0 or spent[k] > spent[kept[:at]].max()]


def fixed_settings(scales: Sequence[int], n: int) -> Settings:
    """Every scale of the ladder given to all ``n`` samples."""
    choices = np.repeat(np.arange(len(scales), dtype=np.int8)[:, None], n, axis=1)
    return Settings("fixed", "scale", tuple(map(float, scales)), choices)
