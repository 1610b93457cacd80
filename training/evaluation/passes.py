"""Passes over an outcome table: every scale's answer and its confidence are there, so no model runs.

Shapes: n samples, S scales, C numbers of confidence, K settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from router.cascade import MOST_PASSES, Revise
from router.policy import Index, Mask
from training.evaluation.frontier import Floats
from training.evaluation.settings import Settings


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
