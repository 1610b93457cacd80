"""An evaluation with one more cost, on the same resamples as all the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.evaluate import Evaluation, Outcomes
from training.evaluation.comparison import HULL, Curve, Estimate, at_accuracy
from training.evaluation.frontier import Floats
from training.evaluation.reachable import mean_cost
from training.evaluation.resampling import Measured, measure
from training.evaluation.results import PolicyResult
from training.evaluation.settings import Settings

_Place = tuple[str, float]


def with_cost(
    e: Evaluation,
    table: Outcomes,
    name: str,
    cost: Floats,
    *,
    main: str = "router",
) -> Evaluation:
    """Everything in ``e``, an evaluation of ``table``, that has costs has this one too.

    cost: [n, S] per sample and scale; a policy's own charge is not known for it.
    """
    paths = {key: curve.measured.settings for key, curve in e.curves.items() if key != HULL}
    placed = {(key, target): k for key, s in paths.items() for k, target in enumerate(s.targets)}
    alone = [p for p in e.policies if (p.name, p.target) not in placed]
    single = [Settings(p.name, p.target_is, (p.target,), p.choice.astype(np.int8)[None]) for p in alone]
    # In the place of scores: what they were is in ``e``, on the same resamples.
    measured = measure(
        [e.fixed.settings, e.oracle_smallest.settings, *paths.values(), *single],
        cost,
        {},
        table.image_index,
        draws=e.draws,
        seed=e.seed,
    )
    fixed = _joined(e.fixed, measured[0], name)
    on_paths = dict(zip(paths, measured[2 : 2 + len(paths)], strict=True))
    of_alone = {id(p): m for p, m in zip(alone, measured[2 + len(paths) :], strict=True)}

    def judged(p: PolicyResult) -> PolicyResult:
        m, k = (of_alone[id(p)], 0) if id(p) in of_alone else (on_paths[p.name], placed[p.name, p.target])
        spent, draws = m.accuracy[k], m.accuracy_draws[:, k]
        full, full_draws = fixed.cost[name][e.best], fixed.cost_draws[name][:, e.best]
        return replace(
            p,
            cost={**p.cost, name: Estimate.of(spent, draws)},
            saved={**p.saved, name: Estimate.of(1 - spent / full, 1 - draws / full_draws)},
        )

    curves = {
        key: Curve(key, fixed if key == HULL else _joined(curve.measured, on_paths[key], name), curve.mixed)
        for key, curve in e.curves.items()
    }
    rivals = [curve for key, curve in curves.items() if key != main]
    equal = dict(e.equal_accuracy)
    if main in curves:
        equal[name] = tuple(at_accuracy(curves[main], rivals, fixed, e.best, name))
    reachable = e.reachable
    if reachable is not None:
        reachable = replace(reachable, cost={**reachable.cost, name: mean_cost(reachable.oracles, cost)})
    return replace(
        e,
        fixed=fixed,
        oracle_costs={**e.oracle_costs, name: dict(e.oracle.mean_cost(cost))},
        oracle_smallest=_joined(e.oracle_smallest, measured[1], name),
        curves=curves,
        policies=tuple(judged(p) for p in e.policies),
        equal_accuracy=equal,
        reachable=reachable,
    )


def _joined(m: Measured, more: Measured, name: str) -> Measured:
    return replace(
        m,
        cost={**m.cost, name: more.accuracy},
        cost_draws={**m.cost_draws, name: more.accuracy_draws},
    )
