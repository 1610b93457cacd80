"""One policy at one setting, judged: accuracy, costs, headroom, and what it gains over its rivals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.evaluation.comparison import Curve, Estimate
from training.evaluation.frontier import Floats
from training.evaluation.headroom import Yardstick
from training.evaluation.resampling import Measured
from training.evaluation.settings import Index

TOKENS, FLOPS, FLOPS_7B = COSTS = ("visual_tokens", "flops", "flops_7b")
"""Visual tokens; FLOPs of the whole path on the table's backbone; the same at the 7B shape."""


@dataclass(frozen=True)
class PolicyResult:
    """One policy at one setting. ``role``: why it is listed; ``chosen_on``: where its target came from.

    The headroom measures are NaN where their condition fails; their intervals hold the setting fixed. They
    are against the reachable oracle where there is one, and ``plain_...`` always against the plain one.
    ``gain_over``: accuracy minus that of another curve at the same mean visual tokens. ``versus_best``:
    accuracy minus the best fixed scale's; ``saved``: 1 - cost / the best fixed scale's, by cost.
    """

    name: str
    target: float
    target_is: str
    role: str
    chosen_on: str
    accuracy: Estimate
    cost: Mapping[str, Estimate]
    accuracy_headroom_captured: Estimate
    token_headroom_captured: Estimate
    gain_over: Mapping[str, Estimate]
    versus_best: Estimate
    saved: Mapping[str, Estimate]
    choice: Index
    plain_accuracy_headroom_captured: Estimate
    plain_token_headroom_captured: Estimate


@dataclass(frozen=True)
class Yardsticks:
    """One yardstick on the sample and on its resamples."""

    point: Yardstick
    draws: Yardstick

    def accuracy(self, at: Floats, tokens: Floats, draws: Floats) -> Estimate:
        """Accuracy headroom captured by accuracy ``at`` [1] for ``tokens`` [1]; draws: accuracies [B, 1]."""
        return _where(
            self.point.affordable(tokens)[0],
            self.point.accuracy_captured(at)[0],
            self.draws.accuracy_captured(draws),
        )

    def tokens(self, at: Floats, accuracy: Floats, draws: Floats) -> Estimate:
        """Token headroom captured by tokens ``at`` [1] at ``accuracy`` [1]; draws: tokens [B, 1]."""
        return _where(
            self.point.accurate(accuracy)[0],
            self.point.token_captured(at)[0],
            self.draws.token_captured(draws),
        )


@dataclass(frozen=True)
class Judge:
    """Turns measured settings into results against yardsticks and one set of rivals."""

    fixed: Measured
    best: int
    main: Yardsticks
    plain: Yardsticks
    rivals: Sequence[Curve]

    def result(self, m: Measured, k: int, role: str, chosen_on: str) -> PolicyResult:
        accuracy, tokens = m.accuracy[[k]], m.cost[TOKENS][[k]]
        accuracy_draws, tokens_draws = m.accuracy_draws[:, [k]], m.cost_draws[TOKENS][:, [k]]
        rivals = [r for r in self.rivals if r.name != m.settings.name]
        return PolicyResult(
            name=m.settings.name,
            target=m.settings.targets[k],
            target_is=m.settings.target_is,
            role=role,
            chosen_on=chosen_on,
            accuracy=Estimate.of(accuracy[0], accuracy_draws),
            cost={name: Estimate.of(m.cost[name][k], m.cost_draws[name][:, k]) for name in m.cost},
            accuracy_headroom_captured=self.main.accuracy(accuracy, tokens, accuracy_draws),
            token_headroom_captured=self.main.tokens(tokens, accuracy, tokens_draws),
            plain_accuracy_headroom_captured=self.plain.accuracy(accuracy, tokens, accuracy_draws),
            plain_token_headroom_captured=self.plain.tokens(tokens, accuracy, tokens_draws),
            gain_over={
                r.name: Estimate.of(
                    accuracy[0] - r.accuracy_at(TOKENS, tokens, draws=False)[0],
                    accuracy_draws - r.accuracy_at(TOKENS, tokens_draws, draws=True),
                )
                for r in rivals
            },
            versus_best=Estimate.of(
                accuracy[0] - self.fixed.accuracy[self.best],
                accuracy_draws[:, 0] - self.fixed.accuracy_draws[:, self.best],
            ),
            saved={
                name: Estimate.of(
                    1 - m.cost[name][k] / self.fixed.cost[name][self.best],
                    1 - m.cost_draws[name][:, k] / self.fixed.cost_draws[name][:, self.best],
                )
                for name in m.cost
            },
            choice=m.settings.choices[k].astype(np.int64),
        )


def _where(holds: bool, value: float, draws: Floats) -> Estimate:
    known = draws[~np.isnan(draws)]
    if not holds or np.isnan(value) or not known.size:
        return Estimate(float("nan"), float("nan"), float("nan"))
    return Estimate.of(value, known)
