"""What fixed scales, router and hybrid do on data unlike training's, and whether that is good enough.

Both act as served, their fallback for novel images included, at the report's operating point, and at what is
certified for as much as is good enough. What is found here is empirical: nothing promised for one
distribution holds on another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from data.records import OutcomeTable
from data.scalebench import NOVELTY_SPLITS
from router.certificates import Setting
from router.constraints import DELTA, LOSS
from router.policy import Constraints
from router.predictor import Predictions
from router.router import Router
from training.evaluate import Evaluation
from training.evaluation.comparison import Estimate
from training.evaluation.oracle import Oracle
from training.evaluation.passes import Passes, as_settings
from training.evaluation.resampling import Measured, measure
from training.evaluation.results import TOKENS, PolicyResult
from training.evaluation.settings import Settings, fixed_settings
from training.report.hybrid import HYBRID, played
from training.report.inputs import Inputs, predict

ROUTER = "router"
LEAST, MOST_TOKENS = -0.02, 0.5
"""What is good enough on a shifted split: at least this accuracy against the largest scale's, and at most
this share of its tokens."""
CERTIFIED = Constraints(accuracy_drop=-LEAST, loss="net")
"""What asks for that on data like training's."""


@dataclass(frozen=True)
class Routed:
    """A policy on one split, all passes charged.

    versus_full: its accuracy minus the largest scale's. share: of the largest scale's tokens.
    """

    accuracy: Estimate
    visual_tokens: Estimate
    versus_full: Estimate
    share: Estimate

    @property
    def good(self) -> bool:
        """Whether it is good enough: `LEAST`, `MOST_TOKENS`."""
        return self.versus_full.value >= LEAST and self.share.value <= MOST_TOKENS

    @property
    def clear(self) -> bool:
        """Whether the 95% intervals by image say the same as `good`."""
        if self.good:
            return self.versus_full.low >= LEAST and self.share.high <= MOST_TOKENS
        return self.versus_full.high < LEAST or self.share.low > MOST_TOKENS


@dataclass(frozen=True)
class Shift:
    """One split. accuracy, visual_tokens: of every fixed scale. judged: not the split reported on, nor one on
    which novelty may be tuned.

    routed: policy -> what it does at its operating point, and where nothing else was asked for under
    `certified` at the setting certified for `CERTIFIED`; the hybrid, and what is certified, only where there
    is one. novel: share of questions sent to the full scale because their image is unlike those of training.
    """

    split: str
    n: int
    n_images: int
    accuracy: tuple[float, ...]
    visual_tokens: tuple[float, ...]
    oracle_accuracy: float
    judged: bool
    routed: dict[str, Routed]
    novel: float | None


def certified(policy: str) -> str:
    """What ``policy`` is called at the setting certified for `CERTIFIED`."""
    return f"{policy} as certified"


def shift_rows(inputs: Inputs, evaluation: Evaluation, operating: PolicyResult | None) -> tuple[Shift, ...]:
    """The split reported on first, for comparison; empty where no shifted split was given."""
    if not inputs.shifts:
        return ()
    rows = []
    for table in (inputs.table, *inputs.shifts):
        settings: list[Settings] = []
        as_certified: list[Settings] = []
        novel = None
        if operating is not None and inputs.router is not None:
            router, at_home = inputs.router, table is inputs.table
            known = inputs.predictions if at_home and inputs.predictions is not None else None
            predictions = predict(router, table) if known is None else known
            at = inputs.asked or Constraints(price=operating.target)
            settings.append(_settings(ROUTER, _once(router, predictions, table, at)))
            again = _thinking_again(router, predictions, table, inputs.asked)
            settings += [] if again is None else [_settings(HYBRID, again)]
            as_certified = _as_certified(router, predictions, table) if inputs.asked is None else []
            novel = float(router.is_novel(predictions).mean())
        judged = table is not inputs.table and table.split not in NOVELTY_SPLITS
        measured = partial(_measured, table, draws=evaluation.draws, seed=evaluation.seed)
        fixed, routed = measured(settings)
        # Apart, so that what stands beside it does not change how a policy's intervals are rounded.
        routed |= measured(as_certified)[1] if as_certified else {}
        rows.append(_row(table, fixed, routed, judged, novel))
    return tuple(rows)


def _as_certified(router: Router, predictions: Predictions, table: OutcomeTable) -> list[Settings]:
    """Router and hybrid under `CERTIFIED`, as far as the bundle has such certificates."""
    proven = router.bundle.certificates.covering("net", -LEAST, DELTA)
    nothing = proven is None or proven.setting is None
    passes = {
        ROUTER: None if nothing else _once(router, predictions, table, CERTIFIED),
        HYBRID: _thinking_again(router, predictions, table, CERTIFIED),
    }
    return [_settings(certified(name), made) for name, made in passes.items() if made is not None]


def _once(router: Router, predictions: Predictions, table: OutcomeTable, asked: Constraints) -> Passes:
    choice = router.replay(predictions, table.visual_tokens, asked)
    return Passes(choice, np.zeros(table.scores.shape, np.bool_))


def _thinking_again(
    router: Router, predictions: Predictions, table: OutcomeTable, asked: Constraints | None
) -> Passes | None:
    """The hybrid at its default price, or at what is certified of it for the drop that was asked for; None
    where there is none, or where the table does not say how sure answers were."""
    look = router.second_look
    if look is None or table.manifest.get("confidences") == "none":
        return None
    escalation = look.escalation
    setting: Setting | None = Setting(escalation.prices.default, escalation.threshold)
    if asked is not None and asked.accuracy_drop is not None:
        wanted = asked.loss or LOSS, asked.accuracy_drop, asked.delta or DELTA
        found = router.bundle.certificates.covering(*wanted, cascade=True)
        setting = None if found is None else found.setting
    if setting is None or setting.threshold is None:
        return None
    return played(router, look, predictions, table).passes(
        setting.price, escalation.optimism, setting.threshold
    )


def _settings(name: str, passes: Passes) -> Settings:
    return as_settings(name, "", (0.0,), [passes], {})


def _measured(
    table: OutcomeTable, settings: list[Settings], *, draws: int, seed: int
) -> tuple[Measured, dict[str, Routed]]:
    """The fixed scales, and each of ``settings`` by its name."""
    fixed, *policies = measure(
        [fixed_settings(table.scales, len(table)), *settings],
        table.scores,
        {TOKENS: table.visual_tokens.astype(np.float64)},
        table.image_index,
        draws=draws,
        seed=seed,
    )
    return fixed, {each.settings.name: _routed(each, fixed) for each in policies}


def _row(
    table: OutcomeTable, fixed: Measured, routed: dict[str, Routed], judged: bool, novel: float | None
) -> Shift:
    return Shift(
        split=table.split,
        n=len(table),
        n_images=len(np.unique(table.image_index)),
        accuracy=tuple(fixed.accuracy.tolist()),
        visual_tokens=tuple(fixed.cost[TOKENS].tolist()),
        oracle_accuracy=Oracle.of(table.scores, table.sufficient()).accuracy,
        judged=judged,
        routed=routed,
        novel=novel,
    )


def _routed(policy: Measured, fixed: Measured) -> Routed:
    accuracy, accuracy_draws = policy.accuracy[0], policy.accuracy_draws[:, 0]
    spent, spent_draws = policy.cost[TOKENS][0], policy.cost_draws[TOKENS][:, 0]
    full, full_draws = fixed.cost[TOKENS][-1], fixed.cost_draws[TOKENS][:, -1]
    return Routed(
        accuracy=Estimate.of(accuracy, accuracy_draws),
        visual_tokens=Estimate.of(spent, spent_draws),
        versus_full=Estimate.of(accuracy - fixed.accuracy[-1], accuracy_draws - fixed.accuracy_draws[:, -1]),
        share=Estimate.of(spent / full, spent_draws / full_draws),
    )
