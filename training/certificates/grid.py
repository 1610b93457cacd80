"""The grid of certificates of one router: for every loss, epsilon and delta the cheapest setting that passes.

Each certificate holds by itself with its own delta; they do not hold all at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.records import OutcomeTable, RecordError
from router.certificates import Certificate, Certificates, TokenBounds
from router.constraints import LossName
from router.predictor import Predictions
from router.prices import Prices
from router.router import Router
from training.certificates.bounds import BOUNDS, Bound, Floats, Sets, bet_against
from training.certificates.path import fix_path
from training.certificates.replay import Replay
from training.certificates.testing import passed

EPSILONS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
DELTAS = (0.01, 0.05, 0.1)
SPLIT = "certify"


@dataclass(frozen=True)
class Grid:
    """What is asked for: every combination."""

    losses: tuple[LossName, ...] = ("regret", "net")
    epsilons: tuple[float, ...] = EPSILONS
    deltas: tuple[float, ...] = DELTAS

    def __post_init__(self) -> None:
        for name, values in (("epsilon", self.epsilons), ("delta", self.deltas)):
            wrong = [value for value in values if not 0 < value < 1]
            if wrong or not values:
                raise ValueError(f"{name} must be above 0 and below 1, got {wrong or 'none'}.")


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
    replay = replay_of(router, table, predict(router, table))
    found = _accuracy(replay, grid, "", 1)
    names = sorted(set(table.families.tolist()))
    if families and len(names) > 1:
        for name in names:
            found += _accuracy(replay.family(name), grid, name, len(names))
    limit = table.manifest.get("max_new_tokens")
    return Certificates(
        accuracy=tuple(found),
        tokens=token_bounds(router, table, grid.deltas),
        max_new_tokens=limit if isinstance(limit, int) else 0,
        outcomes=outcomes,
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


def replay_of(router: Router, table: OutcomeTable, predictions: Predictions) -> Replay:
    """The router along its path."""
    return Replay.of(router, predictions, table, fix_path(router.bundle.prices))


def _accuracy(replay: Replay, grid: Grid, group: str, groups: int) -> list[Certificate]:
    """The certificates of one group; each of ``groups`` gets an equal part of delta (Bonferroni)."""
    tokens = replay.image_tokens().mean(axis=0)
    found = []
    for loss in grid.losses:
        bound, losses = BOUNDS[loss], replay.losses(loss)
        sets = Sets.whole(len(losses))
        for epsilon in grid.epsilons:
            p = bound.p_values(losses, epsilon, sets)
            for delta in grid.deltas:
                step = int(passed(p, delta / groups)[0])
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


def token_bounds(router: Router, table: OutcomeTable, deltas: Sequence[float]) -> tuple[TokenBounds, ...]:
    """What the mean of visual tokens stays under at every price of the bundle, by image; no label is read.

    Betting on tokens / largest cost of an image in the table, by prices from the dearest down: for any budget
    fixed beforehand, the lowest price such that it and all above it keep within the budget is certified by
    fixed-sequence testing. Images that cost more than any of the table are not covered.
    """
    prices: Prices = router.bundle.prices
    replay = Replay.of(router, predict(router, table), table, fix_path(prices)[-len(prices.prices) :])
    most = float(table.visual_tokens.max())
    x = replay.image_tokens() / most
    bound = Bound(bet_against, 0.0)
    found = []
    for delta in deltas:
        upper = [most * bound.upper(x[:, k], delta) for k in range(x.shape[1])]
        # From the cheapest price on, a bound counts only with those before it.
        bounds = np.maximum.accumulate(upper[::-1])[::-1]
        found.append(TokenBounds(float(delta), len(x), tuple(map(float, bounds))))
    return tuple(found)
