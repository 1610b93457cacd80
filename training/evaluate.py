"""Replays policies over an outcome table: fixed scales, their hull, a lookup, the router, the oracle.

No model is needed: what every scale answered is in the table. Costs are given three ways: visual tokens,
FLOPs of the whole path on the table's backbone, and the same path priced at the 7B shape.

Settings that a user would have to choose (how cheap, how accurate) are chosen on ``tune`` where it is
given and measured here, so that a figure is not the best of many on the data that it is quoted for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training.evaluation.comparison import (
    HULL,
    AtAccuracy,
    AtTokens,
    Curve,
    Estimate,
    at_accuracy,
    at_tokens,
    mean_gain,
    token_levels,
)
from training.evaluation.frontier import Floats, upper_hull
from training.evaluation.headroom import ACCURACY_SLACK, Yardstick, best_fixed
from training.evaluation.oracle import NoneSufficient, Oracle
from training.evaluation.reachable import Reachable
from training.evaluation.resampling import Measured, measure
from training.evaluation.results import FLOPS, FLOPS_7B, TOKENS, Judge, PolicyResult, Yardsticks
from training.evaluation.settings import Replay, Settings, at_prices, fixed_settings, sweep


class Outcomes(Protocol):
    """What is read of `data.records.OutcomeTable`. Shapes as there."""

    @property
    def scales(self) -> tuple[int, ...]: ...
    @property
    def scores(self) -> NDArray[np.float64]: ...
    @property
    def visual_tokens(self) -> NDArray[np.int64]: ...
    @property
    def flops(self) -> NDArray[np.int64]: ...
    @property
    def image_index(self) -> NDArray[np.int64]: ...
    def sufficient(self, tolerance: float = 0.0) -> NDArray[np.bool_]: ...


@dataclass(frozen=True)
class Contender:
    """A priced policy on the evaluated table and, where it may choose its settings, on ``tune``.

    extra: settings besides its frontier (its default, its token budgets). charge: per request, by cost.
    """

    name: str
    replay: Replay
    tune_replay: Replay | None = None
    extra: tuple[Settings, ...] = ()
    charge: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """All that a report says about one table. ``oracle_smallest``: the oracle as one measured setting.

    reachable: None without further replicates of the outcomes; headroom is then up to the plain oracle.
    """

    n: int
    n_images: int
    scales: tuple[int, ...]
    draws: int
    seed: int
    fixed: Measured
    best: int
    hull: tuple[int, ...]
    oracle: Oracle
    oracle_costs: Mapping[str, Mapping[NoneSufficient, float]]
    oracle_smallest: Measured
    curves: Mapping[str, Curve]
    policies: tuple[PolicyResult, ...]
    levels: tuple[AtTokens, ...]
    equal_accuracy: Mapping[str, tuple[AtAccuracy, ...]]
    mean_gain: Mapping[str, Estimate]
    mean_gain_range: tuple[float, float]
    reachable: Reachable | None = None

    @property
    def best_scale(self) -> int:
        return self.scales[self.best]

    def result(self, name: str, role: str) -> PolicyResult | None:
        """The policy listed under this name for this role, if any."""
        return next((p for p in self.policies if p.name == name and p.role == role), None)


def evaluate(
    table: Outcomes,
    contenders: Sequence[Contender],
    *,
    flops_7b: NDArray[np.integer] | None = None,
    tune: Outcomes | None = None,
    replicates: Sequence[Outcomes] = (),
    tolerance: float = 0.0,
    draws: int = 1000,
    seed: int = 0,
    main: str = "router",
) -> Evaluation:
    """Replay everything on ``table`` with ``draws`` resamples by image.

    flops_7b: [n, S] from `training.evaluation.pricing`; left out, that cost is not given. main: the
    contender that the others are compared with. replicates: the same samples, in the same order, with other
    pixels. Raises `ValueError` for an empty table.
    """
    costs: dict[str, Floats] = {
        TOKENS: table.visual_tokens.astype(np.float64),
        FLOPS: table.flops.astype(np.float64),
    }
    if flops_7b is not None:
        costs[FLOPS_7B] = flops_7b.astype(np.float64)
    n, n_scales = table.scores.shape
    if not n:
        raise ValueError("The outcome table has no samples: there is nothing to evaluate.")
    oracle = Oracle.of(table.scores, table.sufficient(tolerance))
    fixed_s = fixed_settings(table.scales, n)
    resolved = oracle.resolved("smallest", n_scales).astype(np.int8)[None]
    oracle_s = Settings("oracle", "none sufficient: smallest", (0.0,), resolved)
    frontiers = [sweep(c.name, c.replay, table.visual_tokens, c.charge) for c in contenders]
    extras = [s for c in contenders for s in c.extra]
    fixed, oracle_m, *rest = measure(
        [fixed_s, oracle_s, *frontiers, *extras],
        table.scores,
        costs,
        table.image_index,
        draws=draws,
        seed=seed,
    )
    paths, listed = rest[: len(frontiers)], rest[len(frontiers) :]
    best = best_fixed(fixed)
    hull = Curve(HULL, fixed, mixed=True)
    curves = {HULL: hull} | {c.name: Curve(c.name, m) for c, m in zip(contenders, paths, strict=True)}
    rivals = [c for name, c in curves.items() if name != main]
    plain = Yardsticks(*(Yardstick.of(fixed, best, oracle_m, draws=d) for d in (False, True)))
    reachable, yardsticks = None, plain
    if replicates:
        reachable = Reachable.of(
            [table.scores, *(replicate.scores for replicate in replicates)],
            costs,
            table.image_index,
            best,
            tolerance=tolerance,
            draws=draws,
            seed=seed,
        )
        yardsticks = Yardsticks(*(reachable.yardstick(fixed, best, draws=d) for d in (False, True)))
    judge = Judge(fixed, best, yardsticks, plain, rivals)

    policies = [
        judge.result(m, k, "default" if m.settings.target_is.startswith("price") else "budget", "bundle")
        for m in listed
        for k in range(len(m.settings.targets))
    ]
    for contender, path in zip(contenders, paths, strict=True):
        chosen_on = "this split" if tune is None or contender.tune_replay is None else "tune"
        for role, k in _chosen(contender, path, table, tune).items():
            policies.append(judge.result(path, k, role, chosen_on))
    for path in paths:
        policies += [judge.result(path, k, "frontier", "sweep") for k in range(len(path.settings.targets))]

    levels, spread = token_levels(fixed.cost[TOKENS]), (0.0, 0.0)
    mine = curves.get(main)
    gains: dict[str, Estimate] = {}
    if mine is not None and len(levels) > 1:
        spread = (float(levels[0]), float(levels[-1]))
        gains = {c.name: mean_gain(mine, c, *spread) for c in rivals}
    return Evaluation(
        n=n,
        n_images=len(np.unique(table.image_index)),
        scales=table.scales,
        draws=draws,
        seed=seed,
        fixed=fixed,
        best=best,
        hull=upper_hull(fixed.cost[TOKENS], fixed.accuracy),
        oracle=oracle,
        oracle_costs={name: dict(oracle.mean_cost(cost)) for name, cost in costs.items()},
        oracle_smallest=oracle_m,
        curves=curves,
        policies=tuple(policies),
        levels=() if mine is None else tuple(at_tokens(mine, rivals, levels)),
        equal_accuracy={}
        if mine is None
        else {name: tuple(at_accuracy(mine, rivals, fixed, best, name)) for name in costs},
        mean_gain=gains,
        mean_gain_range=spread,
        reachable=reachable,
    )


def _chosen(contender: Contender, path: Measured, table: Outcomes, tune: Outcomes | None) -> dict[str, int]:
    """`roles` on ``tune`` where possible, else on ``table`` itself."""
    if tune is None or contender.tune_replay is None:
        return roles(path, table)
    settings = at_prices(contender.name, contender.tune_replay, path.settings.targets)
    tokens = {TOKENS: tune.visual_tokens.astype(np.float64)}
    return roles(measure([settings], tune.scores, tokens, tune.image_index, draws=0)[0], tune)


def roles(path: Measured, table: Outcomes) -> dict[str, int]:
    """Role -> index on the path, as measured on ``table``: the cheapest setting within 0.5 points of the best
    fixed scale, and the most accurate one that costs no more. A role nobody fills is left out."""
    fixed_accuracy = table.scores.mean(axis=0)
    best = int(fixed_accuracy.argmax())
    enough = np.flatnonzero(path.accuracy >= fixed_accuracy[best] - ACCURACY_SLACK)
    affordable = np.flatnonzero(path.cost[TOKENS] <= table.visual_tokens[:, best].mean())
    found = {}
    if enough.size:
        found["thrifty"] = int(enough[0])
    if affordable.size:
        found["accurate"] = int(affordable[path.accuracy[affordable].argmax()])
    return found
