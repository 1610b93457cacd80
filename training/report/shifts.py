"""Shifted splits beside the split reported on: what fixed scales and router do on data unlike training's.

The router acts as served, its fallback for novel images included, at the report's operating point. What
is found here is empirical: nothing promised for one distribution holds on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data.records import IDENTITY, OutcomeTable, RecordError, read_outcomes
from router.policy import Constraints
from training.evaluate import Evaluation
from training.evaluation.comparison import Estimate
from training.evaluation.oracle import Oracle
from training.evaluation.resampling import measure
from training.evaluation.results import TOKENS, PolicyResult
from training.evaluation.settings import Settings, fixed_settings
from training.report.places import FINAL, MANIFEST, SUFFIX

if TYPE_CHECKING:
    from training.report.inputs import Inputs

PREFIX = "shift-"


@dataclass(frozen=True)
class Shift:
    """One split. accuracy, visual_tokens: of every fixed scale; the rest at the router's operating point.

    versus_full: router's accuracy minus the largest scale's. share: of the largest scale's tokens.
    novel: share of questions sent to the full scale because their image is unlike those of training.
    """

    split: str
    n: int
    n_images: int
    accuracy: tuple[float, ...]
    visual_tokens: tuple[float, ...]
    oracle_accuracy: float
    router: Estimate | None = None
    router_tokens: Estimate | None = None
    versus_full: Estimate | None = None
    share: Estimate | None = None
    novel: float | None = None


def read_shifts(
    folders: Sequence[Path], table: OutcomeTable, *, final: bool = False
) -> dict[str, tuple[OutcomeTable, Path]]:
    """Split -> (table, folder), in the order given. A folder is a table, or holds tables in ``shift-*``
    (replicates and the split reported on are left out of those).

    Raises `RecordError` for a folder with neither, for two tables of one split, for a table of another
    backbone or prompt than ``table``, and for the test split without ``final``.
    """
    found: dict[str, tuple[OutcomeTable, Path]] = {}
    for folder in folders:
        named = (folder / MANIFEST).is_file()
        inside = (p.parent for p in folder.glob(f"{PREFIX}*/{MANIFEST}"))
        homes = [folder] if named else sorted(home for home in inside if not home.name.endswith(SUFFIX))
        if not homes:
            raise RecordError(
                f"{folder} is no outcome table and holds none named {PREFIX}*: give --shifts the folder of "
                "one table, or of several."
            )
        for home in homes:
            shift = read_outcomes(home)
            if FINAL in shift.split.split("+") and not final:
                raise RecordError(
                    f"{home} is a table of the split '{shift.split}': it is opened by --final only."
                )
            for key in IDENTITY:
                if shift.manifest.get(key) != table.manifest.get(key):
                    raise RecordError(
                        f"{home} has {key} {shift.manifest.get(key)!r} and the table reported on "
                        f"{table.manifest.get(key)!r}: they are not of one run. Label the split again."
                    )
            if shift.split == table.split and not named:
                continue  # the split reported on has the first row anyway
            if shift.split in found or shift.split == table.split:
                raise RecordError(f"The split '{shift.split}' is given twice, the second time in {home}.")
            found[shift.split] = (shift, home)
    return found


def shift_rows(inputs: Inputs, evaluation: Evaluation, operating: PolicyResult | None) -> tuple[Shift, ...]:
    """The split reported on first, for comparison; empty where no shifted split was given."""
    if not inputs.shifts:
        return ()
    rows = []
    for table in (inputs.table, *inputs.shifts):
        choice, novel = None, None
        if operating is not None and inputs.router is not None:
            at_home = table is inputs.table and inputs.predictions is not None
            predictions = inputs.predictions if at_home else None
            if predictions is None:
                predictions = inputs.router.predict(inputs.router.bundle.features.matrix(table))
            at = inputs.asked or Constraints(price=operating.target)
            choice = inputs.router.replay(predictions, table.visual_tokens, at)
            novel = float(inputs.router.is_novel(predictions).mean())
        rows.append(_row(table, choice, novel, evaluation.draws, evaluation.seed))
    return tuple(rows)


def _row(
    table: OutcomeTable, choice: NDArray[np.int64] | None, novel: float | None, draws: int, seed: int
) -> Shift:
    n = len(table)
    settings = [fixed_settings(table.scales, n)]
    if choice is not None:
        settings.append(Settings("router", "", (0.0,), choice.astype(np.int8)[None]))
    tokens = table.visual_tokens.astype(np.float64)
    fixed, *routed = measure(
        settings, table.scores, {TOKENS: tokens}, table.image_index, draws=draws, seed=seed
    )
    row = Shift(
        split=table.split,
        n=n,
        n_images=len(np.unique(table.image_index)),
        accuracy=tuple(fixed.accuracy.tolist()),
        visual_tokens=tuple(fixed.cost[TOKENS].tolist()),
        oracle_accuracy=Oracle.of(table.scores, table.sufficient()).accuracy,
    )
    if not routed:
        return row
    accuracy, accuracy_draws = routed[0].accuracy[0], routed[0].accuracy_draws[:, 0]
    spent, spent_draws = routed[0].cost[TOKENS][0], routed[0].cost_draws[TOKENS][:, 0]
    full, full_draws = fixed.cost[TOKENS][-1], fixed.cost_draws[TOKENS][:, -1]
    return replace(
        row,
        router=Estimate.of(accuracy, accuracy_draws),
        router_tokens=Estimate.of(spent, spent_draws),
        versus_full=Estimate.of(accuracy - fixed.accuracy[-1], accuracy_draws - fixed.accuracy_draws[:, -1]),
        share=Estimate.of(spent / full, spent_draws / full_draws),
        novel=novel,
    )
