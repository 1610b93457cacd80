"""Results reweighted to the accuracy profiles of the paper's benchmarks, by weights on kinds and on zones.

ScaleBench's mix of easy, hard and hopeless questions is of our making. Here its questions are weighted so
that the fixed scales are as accurate as LLaVA-NeXT-M3 was on a real benchmark (`anchors/m3_paper.json`,
from arXiv 2405.17430v2, table 2), and everything is measured again under those weights.

Two weightings. By *family and kind* a question's weight depends on what it asks alone. By *family and zone*
(every scale right, some, none) it depends on what happened, luck included, which no router sees. How well
either meets a profile is said beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from data.records import OutcomeTable
from training.evaluate import Evaluation
from training.evaluation.comparison import HULL, Curve, Estimate
from training.evaluation.headroom import best_fixed
from training.evaluation.profiles import Weights, fit_weights
from training.evaluation.resampling import Measured, measure_weighted
from training.evaluation.results import TOKENS, PolicyResult
from training.evaluation.settings import Settings, fixed_settings

BENCHMARKS = ("TextVQA", "ChartQA", "POPE")
KINDS, ZONES_TOO = WEIGHTINGS = ("family and kind", "family and zone")


@dataclass(frozen=True)
class Profile:
    """The paper's accuracies on one benchmark: scale -> accuracy in [0, 1]; and its oracle's accuracy."""

    name: str
    accuracy: Mapping[int, float]
    oracle_accuracy: float


@dataclass(frozen=True)
class Reweighted:
    """One benchmark under one weighting. matched: the scales in both ladders; residual: scale -> accuracy
    minus the paper's. accuracy: of every fixed scale. Intervals are by image, the weights held.
    """

    profile: Profile
    weighting: str
    cells: int
    effective_n: float
    accuracy: Mapping[int, float]
    residual: Mapping[int, float]
    best_scale: int
    oracle_accuracy: float
    oracle_tokens: float
    router: Estimate | None = None
    router_tokens: Estimate | None = None
    versus_best: Estimate | None = None
    versus_hull: Estimate | None = None
    saved: Estimate | None = None

    @property
    def worst(self) -> float:
        """The residual that is farthest from zero."""
        return max(self.residual.values(), key=abs)


def paper() -> Mapping[str, Any]:
    """The paper's figures as they are stored with the project, their source among them."""
    content: Mapping[str, Any] = json.loads(
        (files("training.report") / "anchors" / "m3_paper.json").read_text(encoding="utf-8")
    )
    return content


def profile(name: str) -> Profile:
    """The profile of one benchmark of LLaVA-NeXT-M3."""
    figures = paper()["llava_next_m3"]
    at = figures["benchmarks"].index(name)
    return Profile(
        name,
        {int(scale): values[at] / 100 for scale, values in figures["accuracy"].items()},
        figures["oracle"]["accuracy"][at] / 100,
    )


def reweighted(
    table: OutcomeTable, evaluation: Evaluation, operating: PolicyResult | None
) -> tuple[Reweighted, ...]:
    """Every benchmark under every weighting; empty where fewer than three scales are the paper's too."""
    shared = [s for s, scale in enumerate(table.scales) if scale in profile(BENCHMARKS[0]).accuracy]
    if len(shared) < 3:
        return ()
    names = np.char.add(np.char.add(table.families.astype(str), "\n"), table.kinds.astype(str))
    _, family = np.unique(table.families, return_inverse=True)
    cells = {
        KINDS: np.unique(names, return_inverse=True)[1],
        ZONES_TOO: family * 3 + evaluation.oracle.zones,
    }
    wanted = [(profile(name), weighting) for name in BENCHMARKS for weighting in WEIGHTINGS]
    matched = [table.scales[s] for s in shared]
    weights = [
        fit_weights(table.scores[:, shared], cells[weighting], np.array([to.accuracy[s] for s in matched]))
        for to, weighting in wanted
    ]
    n, n_scales = table.scores.shape
    resolved = evaluation.oracle.resolved("smallest", n_scales).astype(np.int8)[None]
    settings = [fixed_settings(table.scales, n), Settings("oracle", "", (0.0,), resolved)]
    if operating is not None:
        settings.append(Settings("router", "", (0.0,), operating.choice.astype(np.int8)[None]))
    measured = measure_weighted(
        settings,
        table.scores,
        {TOKENS: table.visual_tokens.astype(np.float64)},
        table.image_index,
        [w.each for w in weights],
        draws=evaluation.draws,
        seed=evaluation.seed,
    )
    return tuple(
        _row(table.scales, matched, to, weighting, w, found)
        for (to, weighting), w, found in zip(wanted, weights, measured, strict=True)
    )


def _row(
    scales: tuple[int, ...],
    matched: list[int],
    to: Profile,
    weighting: str,
    weights: Weights,
    measured: list[Measured],
) -> Reweighted:
    """measured: the fixed scales, the oracle and, where there is one, the router, under ``weights``."""
    fixed, oracle, *routed = measured
    best = best_fixed(fixed)
    found: dict[str, Estimate] = {}
    if routed:
        m, hull = routed[0], Curve(HULL, fixed, mixed=True)
        tokens, tokens_draws = m.cost[TOKENS], m.cost_draws[TOKENS]
        mixed = hull.accuracy_at(TOKENS, tokens, draws=False)
        mixed_draws = hull.accuracy_at(TOKENS, tokens_draws, draws=True)
        found = {
            "router": Estimate.of(m.accuracy[0], m.accuracy_draws),
            "router_tokens": Estimate.of(tokens[0], tokens_draws),
            "versus_best": Estimate.of(
                m.accuracy[0] - fixed.accuracy[best], m.accuracy_draws[:, 0] - fixed.accuracy_draws[:, best]
            ),
            "versus_hull": Estimate.of(m.accuracy[0] - mixed[0], m.accuracy_draws - mixed_draws),
            "saved": Estimate.of(
                1 - tokens[0] / fixed.cost[TOKENS][best],
                1 - tokens_draws[:, 0] / fixed.cost_draws[TOKENS][:, best],
            ),
        }
    return Reweighted(
        profile=to,
        weighting=weighting,
        cells=weights.cells,
        effective_n=weights.effective_n,
        accuracy=dict(zip(scales, fixed.accuracy.tolist(), strict=True)),
        residual=dict(zip(matched, weights.residual.tolist(), strict=True)),
        best_scale=scales[best],
        oracle_accuracy=float(oracle.accuracy[0]),
        oracle_tokens=float(oracle.cost[TOKENS][0]),
        **found,
    )
