"""A router and the outcomes of ``certify`` -> for every cell of a grid the cheapest setting that passes."""

from __future__ import annotations

from data.records import OutcomeTable, RecordError
from router.certificates import Certificate, Certificates
from router.predictor import Predictions
from router.router import Router
from training.certificates.bounds import BOUNDS, Bound, Floats, Sets
from training.certificates.grid import Grid
from training.certificates.path import cascade_path, price_path
from training.certificates.replay import Replay
from training.certificates.testing import cheapest, passed
from training.certificates.token_bounds import token_bounds

SPLIT = "certify"


def certify(
    router: Router, table: OutcomeTable, grid: Grid, *, families: bool = True, outcomes: str = ""
) -> Certificates:
    """Certificates of ``router`` from ``table``, which must be of the split certify and of its backbone.

    families: each family's own certificates too, where there are several. outcomes: hash of the table, kept.
    Raises `RecordError`, `router.errors.BundleMismatch`.
    """
    if table.split != SPLIT:
        raise RecordError(
            f"The table holds the split '{table.split}': certificates come from '{SPLIT}', on which nothing "
            "was fitted or chosen. --simulate takes any other."
        )
    predictions = predict(router, table)
    found = [
        _accuracy(replay, grid, families=families) for replay in replays(router, table, predictions).values()
    ]
    limit = table.manifest.get("max_new_tokens")
    return Certificates(
        accuracy=found[0],
        tokens=token_bounds(router, predictions, table, grid.deltas),
        max_new_tokens=limit if isinstance(limit, int) else 0,
        outcomes=outcomes,
        cascade=found[1] if len(found) > 1 else (),
    )


def predict(router: Router, table: OutcomeTable) -> Predictions:
    """The router's predictions for every sample, as serving makes them. Raises `RecordError`."""
    if table.manifest.get("route_inputs") == "none":
        raise RecordError(
            "The table was imported and has no route inputs: a router has nothing to look at there. "
            "Label with `m3-train label` instead."
        )
    router.bundle.check_backbone(table.backbone_fingerprint)
    return router.predict(router.bundle.features.matrix(table))


def replays(router: Router, table: OutcomeTable, predictions: Predictions) -> dict[str, Replay]:
    """The router along its path, under its candidate's name, and its cascade along its own, if it has one."""
    name, cascade = router.bundle.candidate, cascade_path(router.bundle.escalation)
    found = {name: Replay.of(router, predictions, table, price_path(router.bundle.prices))}
    if cascade:
        found[f"{name}, cascade"] = Replay.of(router, predictions, table, cascade)
    return found


def _accuracy(replay: Replay, grid: Grid, *, families: bool) -> tuple[Certificate, ...]:
    found = _of_group(replay, grid, "", 1)
    names = sorted(set(replay.table.families.tolist()))
    if families and len(names) > 1:
        for name in names:
            found += _of_group(replay.family(name), grid, name, len(names))
    return tuple(found)


def _of_group(replay: Replay, grid: Grid, group: str, groups: int) -> list[Certificate]:
    """The certificates of one group; each of ``groups`` gets an equal part of delta (Bonferroni)."""
    tokens = replay.image_tokens().mean(axis=0)
    found = []
    for loss in grid.losses:
        bound, losses = BOUNDS[loss], replay.losses(loss)
        sets = Sets.whole(len(losses))
        for epsilon in grid.epsilons:
            p = bound.p_values(losses[:, 1:], epsilon, sets)
            for delta in grid.deltas:
                step = int(cheapest(passed(p, delta / groups), tokens)[0])
                found.append(
                    Certificate(
                        loss=loss,
                        epsilon=epsilon,
                        delta=delta,
                        group=group,
                        n_images=len(losses),
                        smallest_n=bound.smallest_n(epsilon, delta / groups),
                        setting=replay.path[step] if step else None,
                        bound=_bound(bound, losses[:, step], epsilon, delta / groups) if step else 0.0,
                        visual_tokens=float(tokens[step]),
                    )
                )
    return found


def _bound(bound: Bound, losses: Floats, epsilon: float, delta: float) -> float:
    """At most epsilon, which was refused: the search for the bound ends up to 1e-6 above it."""
    return min(epsilon, bound.upper(losses, delta))
