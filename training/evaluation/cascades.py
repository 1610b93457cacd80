"""Cascades replayed over an outcome table: every scale's answer and confidence is there, so no model runs.

`Hybrid` predicts the first scale and thinks again after each answer; `climb` goes up a given sequence of
scales while its answers are unsure, as FrugalGPT does. Settings of either are found on ``tune`` alone.

Shapes: n samples, S scales, C numbers of confidence, K settings.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from router.cascade import MOST_PASSES, Revise, next_when_unsure, worth_it
from router.policy import Index, Mask, spend
from training.evaluation.frontier import Floats, log_spaced_mean, path_accuracy, upper_hull
from training.evaluation.settings import PRICE, PRICES, Settings, spread_out

OPTIMISM = (1.0, 2.0, 4.0, 8.0)
THRESHOLDS = (0.0, 0.01, 0.02, 0.05)
"""What `Hybrid.tuned` tries: how much dearer tokens are in the first look, the least gain of another pass."""

STEPS = 12
"""Thresholds tried for each scale of a plain cascade: quantiles of how sure its answers are."""


class Confident(Protocol):
    """What is read of `data.records.OutcomeTable`. Shapes as there."""

    @property
    def mean_logprob(self) -> NDArray[np.float32]: ...
    @property
    def min_logprob(self) -> NDArray[np.float32]: ...
    @property
    def first_margin(self) -> NDArray[np.float32]: ...
    @property
    def answer_tokens(self) -> NDArray[np.int64]: ...


def confidences(table: Confident) -> NDArray[np.float32]:
    """[n, S, C] in the order of `router.cascade.CONFIDENCE`."""
    parts = (table.mean_logprob, table.min_logprob, table.first_margin, table.answer_tokens)
    return np.stack([part.astype(np.float32) for part in parts], axis=2)


@dataclass(frozen=True)
class Passes:
    """choice: [n] index of the scale that gave the answer. tried: [n, S] the scales before it."""

    choice: Index
    tried: Mask

    def tokens(self, visual_tokens: NDArray[np.number]) -> Floats:
        """[n] visual tokens of all passes; visual_tokens: [n, S]."""
        last = visual_tokens[np.arange(len(self.choice)), self.choice]
        return np.asarray(last + np.where(self.tried, visual_tokens, 0).sum(axis=1), np.float64)


def follow(first: Index, revise: Revise, confidence: NDArray[np.float32], most: int = MOST_PASSES) -> Passes:
    """Answers at ``first`` [n], then where ``revise`` leads, in at most ``most`` passes.

    confidence: [n, S, C] of every answer.
    """
    rows, now = np.arange(len(first)), first
    tried = np.zeros(confidence.shape[:2], np.bool_)
    for _ in range(most - 1):
        then = revise(now, confidence[rows, now])
        moved = then != now
        tried[rows[moved], now[moved]] = True
        now = then
    return Passes(now, tried)


def as_settings(
    name: str,
    target_is: str,
    targets: Sequence[float],
    passes: Sequence[Passes],
    charge: Mapping[str, float] | None = None,
) -> Settings:
    """K runs over the same samples as settings, in the order given."""
    return Settings(
        name,
        target_is,
        tuple(map(float, targets)),
        np.stack([each.choice.astype(np.int8) for each in passes]),
        dict(charge or {}),
        np.stack([each.tried for each in passes]),
    )


@dataclass(frozen=True)
class Hybrid:
    """The hybrid over a table: what was predicted at first, and what the second look says of every answer.

    expected: [n, S] calibrated. given: [n, S, S] expected scores at every scale (last axis) given the answer
    at one (middle axis). fallback: [n] samples that take the full scale at once.
    """

    expected: NDArray[np.floating]
    given: NDArray[np.floating]
    visual_tokens: Floats
    fallback: Mask

    def passes(self, price: float, optimism: float, threshold: float) -> Passes:
        """The run at one setting; see `router.escalation.Escalation`."""
        rows = np.arange(len(self.expected))
        first = spend(self.expected, self.visual_tokens, optimism * price, fallback=self.fallback)
        revise = worth_it(
            lambda tried, _: self.given[rows, tried].astype(np.float32), self.visual_tokens, price, threshold
        )
        return follow(first, revise, np.zeros((*self.expected.shape, 0), np.float32))

    def at_prices(
        self,
        name: str,
        prices: Sequence[float],
        optimism: float,
        threshold: float,
        charge: Mapping[str, float] | None = None,
    ) -> Settings:
        """The hybrid at given prices."""
        passes = [self.passes(price, optimism, threshold) for price in prices]
        return as_settings(name, PRICE, prices, passes, charge)

    def sweep(
        self, name: str, optimism: float, threshold: float, charge: Mapping[str, float] | None = None
    ) -> Settings:
        """The hybrid along its whole frontier of prices, for which no label is looked at."""
        passes = [self.passes(price, optimism, threshold) for price in PRICES]
        spent = np.array([each.tokens(self.visual_tokens).mean() for each in passes])
        kept = spread_out(spent)
        return as_settings(name, PRICE, [PRICES[k] for k in kept], [passes[k] for k in kept], charge)

    def tuned(self, scores: Floats) -> tuple[float, float]:
        """(optimism, threshold) of `OPTIMISM` x `THRESHOLDS` with the most accuracy over log tokens.

        scores: [n, S], of ``tune``. Tokens count from half the second scale's to half the full one's.
        """
        tried = list(itertools.product(OPTIMISM, THRESHOLDS))
        areas = [self._area(scores, *setting) for setting in tried]
        return tried[int(np.argmax(areas))]

    def _area(self, scores: Floats, optimism: float, threshold: float) -> float:
        rows, fixed = np.arange(len(scores)), self.visual_tokens.mean(axis=0)
        passes = [self.passes(price, optimism, threshold) for price in PRICES[::4]]
        spent = np.array([each.tokens(self.visual_tokens).mean() for each in passes])
        accuracy = np.array([scores[rows, each.choice].mean() for each in passes])
        at = np.geomspace(fixed[min(1, len(fixed) - 1)] / 2, fixed[-1] / 2, 41)
        return float(log_spaced_mean(path_accuracy(spent, accuracy, at), at))


Rungs = tuple[tuple[int, ...], tuple[float, ...]]
"""A sequence of scales (indices), and a threshold for each but the last."""


def plain_cascade(
    sure: Floats, visual_tokens: NDArray[np.number], scores: Floats, longest: int = MOST_PASSES
) -> list[Rungs]:
    """The plain cascades that are best on these samples, cheapest first: the vertices of their hull.

    sure: [n, S], how sure the answer at each scale is. All sequences of up to ``longest`` scales are tried,
    with `STEPS` thresholds a rung.
    """
    n_scales, rows = sure.shape[1], np.arange(len(sure))
    parts = [np.quantile(sure[:, s], np.linspace(0.04, 0.96, STEPS)) for s in range(n_scales)]
    found: list[Rungs] = []
    for length in range(1, longest + 1):
        for sequence in itertools.combinations(range(n_scales), length):
            steps = itertools.product(*(parts[s].tolist() for s in sequence[:-1]))
            found += [(sequence, thresholds) for thresholds in steps]
    runs = [climb(rungs, sure) for rungs in found]
    spent = [float(run.tokens(visual_tokens).mean()) for run in runs]
    accuracy = [float(scores[rows, run.choice].mean()) for run in runs]
    return [found[k] for k in upper_hull(spent, accuracy)]


def climb(rungs: Rungs, sure: Floats) -> Passes:
    """One plain cascade over samples whose answers are as ``sure`` [n, S] as that."""
    sequence, thresholds = rungs
    rows = np.arange(len(sure))
    revise = next_when_unsure(sequence, thresholds, lambda tried, _: sure[rows, tried])
    nothing = np.zeros((*sure.shape, 0), np.float32)
    return follow(np.full(len(sure), sequence[0], np.int64), revise, nothing, len(sequence))
