"""What is certified of a router: its policies at all their settings, each with the order of the tests."""

from __future__ import annotations

from dataclasses import dataclass

from data.records import OutcomeTable, RecordError
from router.certificates import FULL, Setting
from router.predictor import Predictions
from router.router import Router
from training.certificates.grid import Grid
from training.certificates.ordering import Order, as_given, check_apart, learned
from training.certificates.path import CASCADES, cascade_path, price_path
from training.certificates.replay import Replay


@dataclass(frozen=True)
class Policy:
    """A policy on the calibration's table. cascade: whether answers are thought over."""

    cascade: bool
    replay: Replay
    order: Order


def policies(
    router: Router,
    predictions: Predictions,
    table: OutcomeTable,
    grid: Grid,
    tune: OutcomeTable | None = None,
) -> tuple[Policy, ...]:
    """The router, and its cascade if it has one.

    predictions: on ``table``. tune: what orders are learned on; left out, they go by price. Raises
    `RecordError` when both tables have an image in common, `router.errors.BundleMismatch`.
    """
    paths: list[tuple[Setting, ...]] = [price_path(router.bundle.prices)]
    if router.second_look is not None:
        paths.append(cascade_path(router.bundle.escalation) if tune is None else (FULL, *CASCADES))
    found: list[Policy] = []
    for path in filter(None, paths):
        replay = Replay.of(router, predictions, table, path)
        if tune is None:
            order = as_given(replay, grid)
        else:
            check_apart(tune, table)
            order = learned(Replay.of(router, predict(router, tune), tune, path), grid)
        found.append(Policy(len(found) > 0, replay, order))
    return tuple(found)


def predict(router: Router, table: OutcomeTable) -> Predictions:
    """The router's predictions for every sample, as serving makes them. Raises `RecordError`."""
    if table.manifest.get("route_inputs") == "none":
        raise RecordError(
            "The table was imported and has no route inputs: a router has nothing to look at there. "
            "Label with `m3-train label` instead."
        )
    router.bundle.check_backbone(table.backbone_fingerprint)
    return router.predict(router.bundle.features.matrix(table))
