"""The reachable oracle: what is left of the oracle without luck, measured on replicates of the outcomes.

A replicate is the same questions about harmlessly perturbed pixels; the table itself counts as one. A lucky
answer at a small scale makes that scale sufficient in one replicate and is not there in another; so the
oracle's scale is chosen on all replicates but one and scored on the one left out, in turn, and averaged.
*Luck* = plain oracle - reachable oracle. Whatever the reachable oracle is compared with here is a mean over
all replicates too, so that what the perturbation itself costs drops out.

With K replicates the smallest sufficient scale of the mean score over K - 1 is chosen. With two that is one
replicate's own choice, which luck can still lead astray: a scale that was right by chance is chosen, and is
wrong in the other as often as chance has it. So two tell too little of what is there to be reached, and
every further one tells more of it; none tells too much, for what chooses never scores. Where there are
more than two, the same with one alone choosing is given beside it (``chosen_on_one``).

Where no scale is sufficient in the replicates that choose, a rule says what is spent, as for the plain
oracle. There it moves the cost alone; here it also moves the accuracy, for the one left out may have
been answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data.records import sufficient_scales
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
    """n samples in K replicates; every estimate is a mean over them, its interval by image.

    accuracy: by rule, of "excluded" without an interval. cost: cost name -> rule -> mean. rule: the one
    with the higher accuracy, of which ``above_best`` (minus the best fixed scale) and ``luck`` are.
    chosen_on_one: ``above_best``, had one replicate chosen for another, a mean over all ordered pairs.
    smaller_in_both: share missed at the largest scale and answered at a smaller one in both of two
    replicates, a mean over all pairs. oracles: of the K times that all but one chose, in order.
    above_draws, token_draws: [B]; tokens with the smallest scale where none is sufficient.
    """

    accuracy: Mapping[NoneSufficient, Estimate]
    cost: Mapping[str, Mapping[NoneSufficient, float]]
    rule: Spent
    plain: Estimate
    best_fixed: Estimate
    above_best: Estimate
    chosen_on_one: Estimate
    luck: Estimate
    smaller_in_both: Estimate
    oracles: tuple[Oracle, ...]
    above_draws: Floats
    token_draws: Floats

    @classmethod
    def of(
        cls,
        scores: Sequence[Floats],
        costs: Mapping[str, Floats],
        image_index: NDArray[np.int64],
        best: int,
        *,
        tolerance: float = 0.0,
        draws: int = 1000,
        seed: int = 0,
    ) -> Reachable:
        """scores: [n, S] of each of two replicates or more, samples in one order; costs: [n, S] of the first,
        taken for all. best: index of the best fixed scale. tolerance: of what is sufficient. Equal ``draws``
        and ``seed`` pair the resamples with those of `training.evaluate.evaluate`."""
        (n, n_scales), k = scores[0].shape, len(scores)
        if k < 2 or any(one.shape != scores[0].shape for one in scores):
            shapes = ", ".join(str(one.shape) for one in scores)
            raise ValueError(f"Two replicates or more of one shape are needed, not {shapes}.")
        if k * n_scales > np.iinfo(np.int8).max:
            raise ValueError(f"{k} replicates of {n_scales} scales are too many: take fewer.")
        alone = [_oracle(one, tolerance) for one in scores]
        others = [[scores[j] for j in range(k) if j != left_out] for left_out in range(k)]
        oracles = [_oracle(np.mean(those, axis=0), tolerance) for those in others]
        # Columns r S to r S + S - 1 are the scales on replicate r.
        at = [r * n_scales for r in range(k)]
        pairs = list(permutations(range(k), 2))
        settings = [
            *(
                _settings(r, [o.resolved(r, n_scales) + at[left] for left, o in enumerate(oracles)])
                for r in RULES
            ),
            *(_settings(r, [alone[a].resolved(r, n_scales) + at[b] for a, b in pairs]) for r in RULES),
            _settings("plain", [o.resolved("smallest", n_scales) + at[r] for r, o in enumerate(alone)]),
            _settings("fixed", [np.full(n, best + at[r]) for r in range(k)]),
        ]
        missed = [(one.max(axis=1) > 0) & ~sufficient_scales(one, tolerance)[:, -1] for one in scores]
        twice = np.mean([missed[a] & missed[b] for a, b in combinations(range(k), 2)], axis=0)
        event = np.repeat(twice[:, None], k * n_scales, axis=1)
        layers = {name: np.hstack([cost] * k) for name, cost in costs.items()} | {_BOTH: event}
        small, large, one_small, one_large, plain, fixed = measure(
            settings, np.hstack(list(scores)), layers, image_index, draws=draws, seed=seed
        )
        by_rule = {"smallest": small, "largest": large}
        rule = max(RULES, key=lambda r: _mean(by_rule[r])[0])
        (reached, reached_draws), (top, top_draws), (held, held_draws) = map(
            _mean, (by_rule[rule], plain, fixed)
        )
        one, one_draws = max(_mean(one_small), _mean(one_large), key=lambda found: found[0])
        kept = [o.choice >= 0 for o in oracles]
        answered = np.concatenate(
            [scores[r][some, o.choice[some]] for r, (o, some) in enumerate(zip(oracles, kept, strict=True))]
        )
        nan = float("nan")
        return cls(
            accuracy={
                "smallest": Estimate.of(*_mean(small)),
                "largest": Estimate.of(*_mean(large)),
                "excluded": Estimate(float(answered.mean()) if answered.size else nan, nan, nan),
            },
            cost={name: mean_cost(oracles, cost) for name, cost in costs.items()},
            rule=rule,
            plain=Estimate.of(top, top_draws),
            best_fixed=Estimate.of(held, held_draws),
            above_best=Estimate.of(reached - held, reached_draws - held_draws),
            chosen_on_one=Estimate.of(one - held, one_draws - held_draws),
            luck=Estimate.of(top - reached, top_draws - reached_draws),
            smaller_in_both=Estimate.of(fixed.cost[_BOTH][0], fixed.cost_draws[_BOTH][:, 0]),
            oracles=tuple(oracles),
            above_draws=reached_draws - held_draws,
            token_draws=small.cost_draws[_TOKENS].mean(axis=1),
        )

    @property
    def replicates(self) -> int:
        """K."""
        return len(self.oracles)

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


def mean_cost(oracles: Sequence[Oracle], cost: Floats) -> Mapping[NoneSufficient, float]:
    """Mean of ``cost`` [n, S] at the choices of all ``oracles`` under each rule (NaN if all are excluded)."""
    means = [oracle.mean_cost(cost) for oracle in oracles]
    counted = [int((oracle.choice >= 0).sum()) for oracle in oracles]
    some = [(m["excluded"], n) for m, n in zip(means, counted, strict=True) if n]
    return {
        "smallest": float(np.mean([m["smallest"] for m in means])),
        "largest": float(np.mean([m["largest"] for m in means])),
        "excluded": sum(m * n for m, n in some) / sum(counted) if some else float("nan"),
    }


def _oracle(scores: Floats, tolerance: float) -> Oracle:
    return Oracle.of(scores, sufficient_scales(scores, tolerance))


def _settings(name: str, rows: Sequence[NDArray[np.int64]]) -> Settings:
    """One setting per row of choices [n]."""
    targets = tuple(float(r) for r in range(len(rows)))
    return Settings(name, "replicate", targets, np.stack(rows).astype(np.int8))


def _mean(m: Measured) -> tuple[float, Floats]:
    return float(m.accuracy.mean()), m.accuracy_draws.mean(axis=1)
