"""Measures fits on the compared table, always on the same resamples of its images: differences are paired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data.records import OutcomeTable
from m3_backbone.cost import Architecture
from training.comparing.fits import Fit
from training.comparing.seeds import Averaged, SeedDraws
from training.comparing.tables import Tables
from training.evaluate import Evaluation, evaluate, roles
from training.evaluation.comparison import HULL, Curve, token_levels
from training.evaluation.frontier import Floats, log_spaced_mean
from training.evaluation.headroom import Yardstick
from training.evaluation.pricing import encoding_flops, price
from training.evaluation.resampling import Measured, measure
from training.evaluation.results import FLOPS, FLOPS_7B, TOKENS, Judge, PolicyResult, Yardsticks
from training.evaluation.settings import Settings

FIXED = "fixed scales"
LEVELS = (9.0, 36.0, 72.0, 144.0, 300.0)
RANGE = (4.0, 300.0)
"""Mean visual tokens at which candidates are compared, and between which areas are taken."""


@dataclass(frozen=True)
class Read:
    """One candidate's curve, a mean over its seeds.

    accuracy: at the levels [Q]; line: [41] at `Scorer.line_tokens`; area: its mean over log tokens, [].
    settings: role -> the setting that tune chose for it.
    """

    accuracy: Averaged
    line: Floats
    area: Averaged
    settings: Mapping[str, PolicyResult]


class Scorer:
    """levels: [Q] mean visual tokens; range: those between which areas are taken; line_tokens: [41] between
    them. evaluation: of fixed scales and oracles, which is all that does not depend on a candidate."""

    def __init__(self, tables: Tables, *, tolerance: float = 0.0, draws: int = 1000, seed: int = 0) -> None:
        shape = Architecture.llava_7b()
        table = tables.table
        flops_7b = price(table, shape)
        self.evaluation = evaluate(
            table,
            (),
            flops_7b=flops_7b,
            replicates=tables.inputs.replicates,
            tolerance=tolerance,
            draws=draws,
            seed=seed,
        )
        self.levels, self.range = levels_of(self.evaluation.fixed.cost[TOKENS])
        self._tables, self._draws, self._seed = tables, draws, seed
        self._costs = {
            TOKENS: table.visual_tokens.astype(np.float64),
            FLOPS: table.flops.astype(np.float64),
            FLOPS_7B: flops_7b.astype(np.float64),
        }
        self._once = {FLOPS: encoding_flops(table), FLOPS_7B: encoding_flops(table, shape)}
        self.line_tokens = np.geomspace(*self.range, 41)
        self._at = np.concatenate([self.levels, self.line_tokens])
        self._judge = _judge(self.evaluation)

    def read(self, fits: Sequence[Fit]) -> Read:
        """fits: of one candidate, one per seed."""
        name = fits[0].about.name
        picks = SeedDraws.of(name, len(fits), self._draws, self._seed)
        measured = self._measure([fit.path for fit in fits])
        curves = [Curve(name, m) for m in measured]
        return self._read(
            picks,
            np.stack([c.accuracy_at(TOKENS, self._at, draws=False) for c in curves]),
            np.stack([c.accuracy_at(TOKENS, self._at[None], draws=True) for c in curves]),
            self._settings(fits, measured, picks),
        )

    def hull(self) -> Read:
        """The fixed scales mixed at random."""
        curve = self.evaluation.curves[HULL]
        picks = SeedDraws.of(HULL, 1, self._draws, self._seed)
        values = curve.accuracy_at(TOKENS, self._at, draws=False)
        draws = curve.accuracy_at(TOKENS, self._at[None], draws=True)
        return self._read(picks, values[None], draws[None])

    def fixed(self) -> Read:
        """The scale that was the most accurate on tune of those that cost no more there."""
        tune, m = self._tables.tune, self.evaluation.fixed
        cost, accuracy = tune.visual_tokens.mean(axis=0), tune.scores.mean(axis=0)
        affordable = cost[None] <= np.maximum(self._at, cost.min())[:, None] * (1 + 1e-9)
        chosen = np.where(affordable, accuracy, -np.inf).argmax(axis=1)
        picks = SeedDraws.of(FIXED, 1, self._draws, self._seed)
        return self._read(picks, m.accuracy[chosen][None], m.accuracy_draws[:, chosen][None])

    def _read(
        self,
        picks: SeedDraws,
        values: Floats,
        draws: Floats,
        settings: Mapping[str, PolicyResult] | None = None,
    ) -> Read:
        """values: [N, Q + 41] accuracy at the levels and along the line; draws: [N, B, Q + 41]."""
        q, at = len(self.levels), self.line_tokens
        return Read(
            picks.average(values[:, :q], draws[:, :, :q]),
            values[:, q:].mean(axis=0),
            picks.average(log_spaced_mean(values[:, q:], at), log_spaced_mean(draws[:, :, q:], at)),
            settings or {},
        )

    def _measure(self, paths: Sequence[Settings]) -> list[Measured]:
        table = self._tables.table
        return measure(
            paths,
            table.scores,
            self._costs,
            table.image_index,
            paid_once=self._once,
            draws=self._draws,
            seed=self._seed,
        )

    def _settings(
        self, fits: Sequence[Fit], measured: Sequence[Measured], picks: SeedDraws
    ) -> dict[str, PolicyResult]:
        """A role is filled when every seed fills it; its setting is then the mean over each seed's own."""
        chosen = [roles(*_on_tune(fit, self._tables.tune)) for fit in fits]
        found = {}
        for role in ("thrifty", "accurate"):
            if all(role in one for one in chosen):
                at = [one[role] for one in chosen]
                found[role] = self._judge.result(_mean_setting(measured, at, picks), 0, role, "tune")
        return found


def levels_of(fixed_tokens: Floats) -> tuple[Floats, tuple[float, float]]:
    """(`LEVELS`, `RANGE`) as far as they lie within a ladder whose scales cost ``fixed_tokens``."""
    low, high = float(fixed_tokens.min()), float(fixed_tokens.max())
    inside = np.array([level for level in LEVELS if low < level < high])
    if len(inside) < 2:
        inside = token_levels(fixed_tokens)
    return inside, (max(RANGE[0], low) if RANGE[0] < high else low, min(RANGE[1], high))


def _judge(e: Evaluation) -> Judge:
    plain = Yardsticks(*(Yardstick.of(e.fixed, e.best, e.oracle_smallest, draws=d) for d in (False, True)))
    reached = plain
    if e.reachable is not None:
        reached = Yardsticks(*(e.reachable.yardstick(e.fixed, e.best, draws=d) for d in (False, True)))
    return Judge(e.fixed, e.best, reached, plain, [e.curves[HULL]])


def _on_tune(fit: Fit, tune: OutcomeTable) -> tuple[Measured, OutcomeTable]:
    """The fit's settings on tune, without resamples, and tune as often as there are folds."""
    times = fit.tune_path.choices.shape[1] // len(tune)
    whole = tune if times == 1 else tune.take(np.tile(np.arange(len(tune)), times))
    costs = {TOKENS: whole.visual_tokens.astype(np.float64)}
    return measure([fit.tune_path], whole.scores, costs, whole.image_index, draws=0)[0], whole


def _mean_setting(measured: Sequence[Measured], at: Sequence[int], picks: SeedDraws) -> Measured:
    """The mean over seeds of setting ``at[i]`` of seed i, as one setting; its choices are the first's."""
    first = measured[0].settings
    accuracy = picks.average(
        np.stack([m.accuracy[[k]] for m, k in zip(measured, at, strict=True)]),
        np.stack([m.accuracy_draws[:, [k]] for m, k in zip(measured, at, strict=True)]),
    )
    costs = {
        name: picks.average(
            np.stack([m.cost[name][[k]] for m, k in zip(measured, at, strict=True)]),
            np.stack([m.cost_draws[name][:, [k]] for m, k in zip(measured, at, strict=True)]),
        )
        for name in measured[0].cost
    }
    target = float(np.mean([m.settings.targets[k] for m, k in zip(measured, at, strict=True)]))
    return Measured(
        Settings(first.name, first.target_is, (target,), first.choices[[at[0]]], first.charge),
        accuracy.value,
        {name: cost.value for name, cost in costs.items()},
        accuracy.draws,
        {name: cost.draws for name, cost in costs.items()},
    )
