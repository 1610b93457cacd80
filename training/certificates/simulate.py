"""Whether certificates hold: many calibration sets from a population whose risks are known.

The population is a whole outcome table; a calibration set is n of its images, drawn with replacement. A
certificate is violated when the risk over the population of any setting that passed is above epsilon, which
may happen in a share of at most delta of the sets. (That it is any, and not the one that is taken, is what
fixed-sequence testing promises, and more than is needed.) Certificates of families share delta: a violation
is one of any family, whose images are drawn apart from those of others. A bound on tokens is violated where
the population's mean is above it: a budget just below that mean is held to be kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from router.constraints import LossName
from training.certificates.bad import BEYOND
from training.certificates.binomial import clopper_pearson
from training.certificates.bounds import BOUNDS, Sets, bet_along
from training.certificates.grid import Grid
from training.certificates.ordering import Order
from training.certificates.played import Played
from training.certificates.testing import cheapest, passed

DRAWS = 1000
_ROUNDING = 1e-12  # of a mean over thousands of images
BUDGETS = 6
"""Token budgets that are simulated."""


@dataclass(frozen=True)
class Simulated:
    """One policy under one certificate of the grid, over ``draws`` calibration sets of ``n_images``.

    loss: "tokens" of a token budget, which is ``epsilon`` then. low, high: Clopper-Pearson limits of the
    violation rate. tokens: mean visual tokens in the population of what was certified, averaged over the
    sets. known: those of the setting that would be taken if the population were known; what is above them is
    the price of proof. nothing: share of sets in which nothing cheaper than the full scale passed.
    """

    policy: str
    loss: LossName | Literal["tokens"]
    epsilon: float
    delta: float
    n_images: int
    draws: int
    violations: int
    low: float
    high: float
    tokens: float
    known: float
    full: float
    nothing: float

    @property
    def rate(self) -> float:
        return self.violations / self.draws

    @property
    def holds(self) -> bool:
        """Whether the violations are no more than delta explains."""
        return self.low <= self.delta


def simulate(
    policies: Mapping[str, tuple[Played, Order]],
    grid: Grid,
    *,
    n_images: int | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Simulated]:
    """Every policy under every certificate of ``grid``, all on the same draws.

    policies: name -> at its settings, and the order in which these are tested. n_images: of a calibration
    set; as many as the population has when left out.
    """
    found: list[Simulated] = []
    for name, (played, order) in policies.items():
        images = len(played.image_tokens())
        n = images if n_images is None else n_images
        for loss in grid.losses:
            cells = _cells(played, order, loss, grid, _drawn(images, n, draws, (seed,)))
            found += [_simulated(name, loss, at, n, cell) for at, cell in cells.items()]
    return found


def simulate_families(
    policies: Mapping[str, tuple[Played, Order]],
    grid: Grid,
    *,
    n_images: int | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Simulated]:
    """The certificates of all families of a policy at once (Bonferroni); none where there is but one family.

    n_images: of all families' calibration sets together, to each its share. Tokens are means over the
    families' images; nothing: in none of the families. Other arguments as in `simulate`.
    """
    found: list[Simulated] = []
    for name, (played, order) in policies.items():
        names = sorted(set(played.table.families.tolist()))
        if len(names) < 2:
            continue
        families = [played.family(family) for family in names]
        images = np.array([len(family.image_tokens()) for family in families])
        share = images / images.sum()
        ns = np.maximum(1, np.round((images.sum() if n_images is None else n_images) * share)).astype(int)
        for loss in grid.losses:
            each = [
                _cells(family, order, loss, grid, Sets.drawn(m, n, draws, (seed, k)), len(families))
                for k, (family, m, n) in enumerate(zip(families, images.tolist(), ns.tolist(), strict=True))
            ]
            for at in each[0]:
                cell = _joined([cells[at] for cells in each], share)
                found.append(_simulated(f"{name}, by family", loss, at, int(ns.sum()), cell))
    return found


def simulate_budgets(
    name: str,
    played: Played,
    deltas: Sequence[float],
    *,
    n_images: int | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Simulated]:
    """Bounds on tokens, at budgets just below what some settings of ``played`` spend in the population.

    played: at the full scale, then by prices, the lowest first. nothing: share of sets in which not even the
    highest price is known to keep the budget; its tokens count then.
    """
    tokens = played.image_tokens()
    most, by_price = float(played.table.visual_tokens.max()), tokens[:, :0:-1]  # the highest price first
    means = by_price.mean(axis=0)
    m, n = len(tokens), len(tokens) if n_images is None else n_images
    some = np.linspace(0, len(means) - 1, BUDGETS).round().astype(int).tolist()
    budgets = sorted({float(np.floor(100 * (1 - BEYOND) * means[k]) / 100) for k in some} - {0.0})
    tests = [(budget / most, range(len(means))) for budget in budgets]
    p_values = bet_along(by_price / most, tests, _drawn(m, n, draws, (seed,)), largest=max(deltas))
    found: list[Simulated] = []
    for budget, p in zip(budgets, p_values, strict=True):
        above = np.flatnonzero(means > budget + _ROUNDING)
        first = int(above[0]) if above.size else len(means)
        for delta in deltas:
            steps = passed(p, delta)
            cell = _Cell(
                violated=steps > first,
                tokens=means[np.maximum(steps - 1, 0)],
                known=float(means[max(first - 1, 0)]),
                full=float(tokens[:, 0].mean()),
                nothing=steps == 0,
            )
            found.append(_simulated(name, "tokens", (budget, delta), n, cell))
    return found


@dataclass(frozen=True)
class _Cell:
    """One certificate over B calibration sets: violated, tokens, nothing: [B]; others as in `Simulated`."""

    violated: NDArray[np.bool_]
    tokens: NDArray[np.float64]
    known: float
    full: float
    nothing: NDArray[np.bool_]


def _cells(
    played: Played, order: Order, loss: LossName, grid: Grid, sets: Sets, groups: int = 1
) -> dict[tuple[float, float], _Cell]:
    """(epsilon, delta) -> what became of it, where ``played`` has an equal part of delta of ``groups``."""
    tokens, losses = played.image_tokens().mean(axis=0), played.losses(loss)
    tests = [(epsilon, order[loss, epsilon][1:]) for epsilon in grid.epsilons]
    p_values = BOUNDS[loss].along(losses, tests, sets, largest=max(grid.deltas) / groups)
    found = {}
    for epsilon, p in zip(grid.epsilons, p_values, strict=True):
        places = list(order[loss, epsilon])
        above = np.flatnonzero(losses[:, places].mean(axis=0) > epsilon + _ROUNDING)
        first = int(above[0]) if above.size else len(places)  # the first step that may not pass
        known = cheapest(np.array([first - 1]), tokens[places])
        for delta in grid.deltas:
            steps = passed(p, delta / groups)
            taken = cheapest(steps, tokens[places])
            found[epsilon, delta] = _Cell(
                violated=steps >= first,
                tokens=tokens[places][taken],
                known=float(tokens[places][known].mean()),
                full=float(tokens[0]),
                nothing=taken == 0,
            )
    return found


def _joined(cells: Sequence[_Cell], share: NDArray[np.float64]) -> _Cell:
    """Those of all families as one. share: of the images that each has."""
    return _Cell(
        violated=np.any([cell.violated for cell in cells], axis=0),
        tokens=share @ np.stack([cell.tokens for cell in cells]),
        known=float(share @ [cell.known for cell in cells]),
        full=float(share @ [cell.full for cell in cells]),
        nothing=np.all([cell.nothing for cell in cells], axis=0),
    )


def _simulated(
    policy: str, loss: LossName | Literal["tokens"], at: tuple[float, float], n_images: int, cell: _Cell
) -> Simulated:
    draws, violations = len(cell.violated), int(cell.violated.sum())
    low, high = clopper_pearson(violations, draws)
    return Simulated(
        policy=policy,
        loss=loss,
        epsilon=at[0],
        delta=at[1],
        n_images=n_images,
        draws=draws,
        violations=violations,
        low=low,
        high=high,
        tokens=float(cell.tokens.mean()),
        known=cell.known,
        full=cell.full,
        nothing=float(cell.nothing.mean()),
    )


@lru_cache(maxsize=1)
def _drawn(images: int, n: int, draws: int, seed: tuple[int, ...]) -> Sets:
    return Sets.drawn(images, n, draws, seed)
