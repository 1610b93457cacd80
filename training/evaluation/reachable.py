"""The reachable oracle: what is left of the oracle without luck, measured on two replicates of the outcomes.

A replicate is the same questions about harmlessly perturbed pixels. A lucky answer at a small scale makes
that scale sufficient in one replicate and is not there in the other; so the oracle's scale is chosen on one
and scored on the other, both ways, and averaged. *Luck* = plain oracle - reachable oracle. Whatever the
reachable oracle is compared with here is a mean over both replicates too, so that what the perturbation
itself costs drops out.

Where no scale is sufficient in the replicate that chooses, a rule says what is spent, as for the plain
oracle. There it moves the cost alone; here it also moves the accuracy, for the other replicate may have
been answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.evaluation.comparison import Estimate
from training.evaluation.frontier import Floats
from training.evaluation.headroom import Yardstick
from training.evaluation.oracle import NoneSufficient, Oracle
from training.evaluation.resampling import Measured, measure
from training.evaluation.settings import Settings

Spent = Literal["smallest", "largest"]
RULES: tuple[Spent, ...] = ("smallest", "largest")
_TOKENS, _BOTH = "visual_tokens", "smaller in both"


@dataclass(frozen=True)
class Reachable:
    """n samples in two replicates; every estimate is a mean over both, its interval by image.

    accuracy: by rule, of "excluded" without an interval. cost: cost name -> rule -> mean. rule: the one
    with the higher accuracy, of which ``above_best`` (minus the best fixed scale) and ``luck`` are.
    smaller_in_both: share missed at the largest scale and answered at a smaller one in both replicates.
    above_draws, token_draws: [B]; tokens with the smallest scale where none is sufficient.
    """

    accuracy: Mapping[NoneSufficient, Estimate]
    cost: Mapping[str, Mapping[NoneSufficient, float]]
    rule: Spent
    plain: Estimate
    best_fixed: Estimate
    above_best: Estimate
    luck: Estimate
    smaller_in_both: Estimate
    above_draws: Floats
    token_draws: Floats

    @classmethod
    def of(
        cls,
        scores: tuple[Floats, Floats],
        sufficient: tuple[NDArray[np.bool_], NDArray[np.bool_]],
        costs: Mapping[str, Floats],
        image_index: NDArray[np.int64],
        best: int,
        *,
        draws: int = 1000,
        seed: int = 0,
    ) -> Reachable:
        """scores, sufficient: [n, S] of each replicate, samples in one order; costs: [n, S] of the first,
        taken for both. best: index of the best fixed scale. Equal ``draws`` and ``seed`` pair the resamples
        with those of `training.evaluate.evaluate`."""
        n, n_scales = scores[0].shape
        if scores[1].shape != scores[0].shape:
            raise ValueError(f"The replicates differ in shape: {scores[0].shape} and {scores[1].shape}.")
        oracles = [Oracle.of(s, enough) for s, enough in zip(scores, sufficient, strict=True)]
        missed = [(o.choice >= 0) & ~enough[:, -1] for o, enough in zip(oracles, sufficient, strict=True)]
        event = np.repeat((missed[0] & missed[1]).astype(np.float64)[:, None], 2 * n_scales, axis=1)
        # Columns 0..S-1 are the scales on the first replicate, S..2S-1 those on the second.
        chosen = {rule: [o.resolved(rule, n_scales) for o in oracles] for rule in RULES}
        settings = [_both(rule, chosen[rule][0] + n_scales, chosen[rule][1]) for rule in RULES] + [
            _both("plain", chosen["smallest"][0], chosen["smallest"][1] + n_scales),
            _both("fixed", np.full(n, best), np.full(n, best + n_scales)),
        ]
        layers = {name: np.hstack([cost, cost]) for name, cost in costs.items()} | {_BOTH: event}
        small, large, plain, fixed = measure(
            settings, np.hstack(scores), layers, image_index, draws=draws, seed=seed
        )
        by_rule = {"smallest": small, "largest": large}
        rule = max(RULES, key=lambda r: _mean(by_rule[r])[0])
        reached, reached_draws = _mean(by_rule[rule])
        top, top_draws = _mean(plain)
        held, held_draws = _mean(fixed)
        kept = [o.choice >= 0 for o in oracles]
        nan = float("nan")
        answered = np.concatenate(
            [
                scores[1][kept[0], oracles[0].choice[kept[0]]],
                scores[0][kept[1], oracles[1].choice[kept[1]]],
            ]
        )
        return cls(
            accuracy={
                "smallest": Estimate.of(*_mean(small)),
                "largest": Estimate.of(*_mean(large)),
                "excluded": Estimate(float(answered.mean()) if answered.size else nan, nan, nan),
            },
            cost={
                name: {
                    "smallest": float(small.cost[name].mean()),
                    "largest": float(large.cost[name].mean()),
                    "excluded": _excluded(cost, oracles, kept),
                }
                for name, cost in costs.items()
            },
            rule=rule,
            plain=Estimate.of(top, top_draws),
            best_fixed=Estimate.of(held, held_draws),
            above_best=Estimate.of(reached - held, reached_draws - held_draws),
            luck=Estimate.of(top - reached, top_draws - reached_draws),
            smaller_in_both=Estimate.of(fixed.cost[_BOTH][0], fixed.cost_draws[_BOTH][:, 0]),
            above_draws=reached_draws - held_draws,
            token_draws=small.cost_draws[_TOKENS].mean(axis=1),
        )

    def yardstick(self, fixed: Measured, best: int, *, draws: bool) -> Yardstick:
        """The two ends with this oracle as the upper one, each measure at its strictest reading: accuracy
        under the rule that gives more of it, tokens with the smallest scale where none is sufficient."""
        if draws:
            low = fixed.accuracy_draws[:, [best]]
            above, tokens = self.above_draws[:, None], self.token_draws[:, None]
            return Yardstick(low, fixed.cost_draws[_TOKENS][:, [best]], low + above, tokens)
        low = fixed.accuracy[[best]]
        tokens = np.array([self.cost[_TOKENS]["smallest"]])
        return Yardstick(low, fixed.cost[_TOKENS][[best]], low + self.above_best.value, tokens)


def _both(name: str, first: NDArray[np.int64], second: NDArray[np.int64]) -> Settings:
    return Settings(name, "replicate", (0.0, 1.0), np.stack([first, second]).astype(np.int8))


def _mean(m: Measured) -> tuple[float, Floats]:
    return float(m.accuracy.mean()), m.accuracy_draws.mean(axis=1)


def _excluded(cost: Floats, oracles: list[Oracle], kept: list[NDArray[np.bool_]]) -> float:
    spent = np.concatenate([cost[k, o.choice[k]] for o, k in zip(oracles, kept, strict=True)])
    return float(spent.mean()) if spent.size else float("nan")
