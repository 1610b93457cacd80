"""The cascade of a bundle with a second look, beside the router alone: the hybrid's curve and its settings.

Its answers and their confidences are in the outcome table, so that nothing is run again. Every pass is
charged, but the encoding of the image once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from data.records import OutcomeTable
from m3_backbone.cost import Architecture
from router.cascade import MOST_PASSES
from router.escalation import SecondLook
from router.predictor import Predictions
from router.router import Router
from training.evaluate import Evaluation, roles
from training.evaluation.comparison import Curve, at_accuracy, at_tokens, mean_gain
from training.evaluation.frontier import Floats
from training.evaluation.headroom import Yardstick
from training.evaluation.hybrid import Hybrid
from training.evaluation.passes import Passes, as_settings, confidences
from training.evaluation.pricing import encoding_flops
from training.evaluation.resampling import measure
from training.evaluation.results import FLOPS, FLOPS_7B, TOKENS, Judge, PolicyResult, Yardsticks
from training.evaluation.settings import PRICE, PRICES, Settings, spread_out
from training.report.inputs import Inputs, predict
from training.report.own_cost import graph_flops
from training.report.timing import MS_7B, Times

HYBRID = "hybrid"


def with_hybrid(
    e: Evaluation,
    inputs: Inputs,
    costs: Mapping[str, Floats],
    times: Times,
    charge: Mapping[str, float],
    *,
    main: str = "router",
) -> Evaluation:
    """``e`` with the hybrid as one more curve; ``e`` itself where the router has no second look.

    costs: cost name -> [n, S], those that ``e`` has. charge: FLOPs of a routing decision, by cost name.
    Tables without confidences, as imported ones are, say nothing of a hybrid.
    """
    router, predictions, table = inputs.router, inputs.predictions, inputs.table
    if router is None or predictions is None or router.second_look is None:
        return e
    if table.manifest.get("confidences") == "none":
        return e
    escalation = router.second_look.escalation
    looks = (MOST_PASSES - 1) * graph_flops(escalation.onnx)
    charged = {cost: flops + looks for cost, flops in charge.items()}
    hybrid = played(router, router.second_look, predictions, table)
    path = _path(hybrid, router.second_look, charged)
    default = _at(hybrid, router.second_look, (escalation.prices.default,), charged)
    once = {FLOPS: encoding_flops(table), FLOPS_7B: encoding_flops(table, Architecture.llava_7b())}
    once |= {MS_7B: times.encoding_ms(table)}
    measured, of_default = measure(
        [path, default],
        table.scores,
        costs,
        table.image_index,
        paid_once={name: once[name] for name in costs if name in once},
        draws=e.draws,
        seed=e.seed,
    )
    judge = Judge(e.fixed, e.best, *_yardsticks(e), list(e.curves.values()))
    policies = [judge.result(of_default, 0, "default", "bundle")]
    chosen_on, found = "this split", roles(measured, table)
    if inputs.tune is not None:
        on_tune = played(router, router.second_look, predict(router, inputs.tune), inputs.tune)
        settings = _at(on_tune, router.second_look, path.targets, {})
        tokens = {TOKENS: inputs.tune.visual_tokens.astype(np.float64)}
        spent = measure([settings], inputs.tune.scores, tokens, inputs.tune.image_index, draws=0)[0]
        chosen_on, found = "tune", roles(spent, inputs.tune)
    policies += [judge.result(measured, k, role, chosen_on) for role, k in found.items()]
    policies += [judge.result(measured, k, "frontier", "sweep") for k in range(len(path.targets))]
    return _joined(e, Curve(HYBRID, measured), policies, main)


def _joined(e: Evaluation, curve: Curve, policies: Sequence[PolicyResult], main: str) -> Evaluation:
    curves = {**e.curves, curve.name: curve}
    mine = curves[main]
    rivals = [c for name, c in curves.items() if name != main]
    levels = np.array([row.visual_tokens for row in e.levels])
    gains = dict(e.mean_gain)
    if gains:
        gains[curve.name] = mean_gain(mine, curve, *e.mean_gain_range)
    return replace(
        e,
        curves=curves,
        policies=(*e.policies, *policies),
        levels=tuple(at_tokens(mine, rivals, levels)) if e.levels else (),
        equal_accuracy={
            cost: tuple(at_accuracy(mine, rivals, e.fixed, e.best, cost)) for cost in e.equal_accuracy
        },
        mean_gain=gains,
    )


def _yardsticks(e: Evaluation) -> tuple[Yardsticks, Yardsticks]:
    """(up to the reachable oracle where there is one, up to the plain one)."""
    plain = Yardsticks(*(Yardstick.of(e.fixed, e.best, e.oracle_smallest, draws=d) for d in (False, True)))
    if e.reachable is None:
        return plain, plain
    found = [e.reachable.yardstick(e.fixed, e.best, draws=d) for d in (False, True)]
    return Yardsticks(*found), plain


def played(router: Router, look: SecondLook, predictions: Predictions, table: OutcomeTable) -> Hybrid:
    """The hybrid over ``table``, which has confidences; predictions: on it."""
    confidence = confidences(table)
    n, n_scales = predictions.score.shape
    given = [
        look.expected(predictions, np.full(n, s, np.int64), confidence[:, s]) for s in range(n_scales - 1)
    ]
    given.append(predictions.score)  # there is no scale above the full one: never read
    tokens = table.visual_tokens.astype(np.float64)
    return Hybrid(predictions.score, np.stack(given, axis=1), tokens, router.is_novel(predictions))


def _path(hybrid: Hybrid, look: SecondLook, charge: Mapping[str, float]) -> Settings:
    """The frontier: of fewer prices than a router's, since each is up to three passes over all samples."""
    prices = PRICES[::4]
    passes = _passes(hybrid, look, prices)
    kept = spread_out(np.array([each.tokens(hybrid.visual_tokens).mean() for each in passes]))
    return as_settings(HYBRID, PRICE, [prices[k] for k in kept], [passes[k] for k in kept], charge)


def _at(hybrid: Hybrid, look: SecondLook, prices: Sequence[float], charge: Mapping[str, float]) -> Settings:
    return as_settings(HYBRID, PRICE, prices, _passes(hybrid, look, prices), charge)


def _passes(hybrid: Hybrid, look: SecondLook, prices: Sequence[float]) -> list[Passes]:
    escalation = look.escalation
    return [hybrid.passes(price, escalation.optimism, escalation.threshold) for price in prices]
