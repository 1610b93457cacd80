"""The field's own measures of a router: APGR and CPT of RouteLLM, AIQ of RouterBench.

RouteLLM (Ong et al. 2024, arXiv 2406.18665, section 3.2) routes between a weak and a strong model:
PGR = (accuracy - weak) / (strong - weak), APGR its mean over the share of calls to the strong one, CPT(x) the
smallest share with a PGR of x. RouterBench (Hu et al. 2024, arXiv 2403.12031, section 3) measures AIQ, the
mean quality over a range of cost. A ladder has more than two models, and calls are not what they cost; so
here the weak model is the smallest scale, the strong one the best fixed scale, and the share of calls is the
share of the way from the one's mean visual tokens to the other's. With two scales this is RouteLLM's. AIQ is
over the whole ladder, of the curve as it is: no hull is taken of its settings in hindsight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.evaluate import Evaluation
from training.evaluation.comparison import Curve, Estimate
from training.evaluation.frontier import Floats
from training.evaluation.results import TOKENS

POINTS = 101
THRESHOLDS = (0.5, 0.8)
"""Of CPT."""


@dataclass(frozen=True)
class FieldMeasures:
    """Of one curve. apgr: NaN without a best fixed scale above the smallest. cpt: threshold -> share of the
    way, infinite where it is not reached. aiq: mean accuracy."""

    name: str
    apgr: Estimate
    cpt: dict[float, Estimate]
    aiq: Estimate


def field_measures(e: Evaluation) -> tuple[FieldMeasures, ...]:
    """Of every curve, the fixed hull among them; empty for a ladder of one scale."""
    if len(e.scales) < 2 or e.fixed.cost[TOKENS][0] >= e.fixed.cost[TOKENS][-1]:
        return ()
    return tuple(_of(e, curve) for curve in e.curves.values())


def _of(e: Evaluation, curve: Curve) -> FieldMeasures:
    nan = Estimate(float("nan"), float("nan"), float("nan"))
    apgr, cpt = nan, dict.fromkeys(THRESHOLDS, nan)
    if e.best > 0 and e.fixed.accuracy[e.best] > e.fixed.accuracy[0]:
        point, draws = _apgr(e, curve, draws=False), _apgr(e, curve, draws=True)
        apgr = Estimate.of(point[0], draws[~np.isnan(draws)])
        for x in THRESHOLDS:
            share, shares = _cpt(e, curve, x, draws=False), _cpt(e, curve, x, draws=True)
            cpt[x] = Estimate.of(share[0], shares[~np.isnan(shares)])
    aiq = Estimate.of(_aiq(e, curve, draws=False)[0], _aiq(e, curve, draws=True))
    return FieldMeasures(curve.name, apgr, cpt, aiq)


def _ends(e: Evaluation, s: int, *, draws: bool) -> tuple[Floats, Floats]:
    """(accuracy, tokens) of the fixed scale with index ``s``: [1, 1], or [B, 1]."""
    m = e.fixed
    if draws:
        return m.accuracy_draws[:, [s]], m.cost_draws[TOKENS][:, [s]]
    return m.accuracy[None, [s]], m.cost[TOKENS][None, [s]]


def _read(e: Evaluation, curve: Curve, last: int, *, draws: bool) -> Floats:
    """[1 or B, `POINTS`] accuracy at equally spaced mean tokens from the smallest scale's to ``last``'s."""
    (_, low), (_, high) = _ends(e, 0, draws=draws), _ends(e, last, draws=draws)
    at = low + (high - low) * np.linspace(0.0, 1.0, POINTS)
    return curve.accuracy_at(TOKENS, at, draws=True) if draws else _once(curve, at)


def _once(curve: Curve, at: Floats) -> Floats:
    return curve.accuracy_at(TOKENS, at[0], draws=False)[None]


def _mean(values: Floats) -> Floats:
    """Over the equally spaced points, by the trapezoid rule: [R, `POINTS`] -> [R]."""
    return np.asarray(np.trapezoid(values, dx=1 / (POINTS - 1), axis=-1))


def _aiq(e: Evaluation, curve: Curve, *, draws: bool) -> Floats:
    return _mean(_read(e, curve, len(e.scales) - 1, draws=draws))


def _apgr(e: Evaluation, curve: Curve, *, draws: bool) -> Floats:
    (weak, _), (strong, _) = _ends(e, 0, draws=draws), _ends(e, e.best, draws=draws)
    span = np.where(strong > weak, strong - weak, np.nan)  # a resample in which nothing is gained
    return _mean((_read(e, curve, e.best, draws=draws) - weak) / span)


def _cpt(e: Evaluation, curve: Curve, x: float, *, draws: bool) -> Floats:
    (weak, low), (strong, high) = _ends(e, 0, draws=draws), _ends(e, e.best, draws=draws)
    target = np.where(strong > weak, weak + x * (strong - weak), np.nan)
    if draws:
        cost = curve.cost_at(TOKENS, target, draws=True)
    else:
        cost = curve.cost_at(TOKENS, target[0], draws=False)[None]
    share = np.maximum(cost - low, 0.0) / (high - low)
    return np.asarray(np.where(np.isnan(target), np.nan, share)[:, 0])
