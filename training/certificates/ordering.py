"""The order in which settings are tested for a loss and an epsilon, learned on ``tune``.

Testing stops at the first setting that does not pass, so the order matters: first what will most likely
pass, then ever cheaper settings, and none that another beats in both. Under ``net`` the first is seldom the
dearest: where a smaller scale is the better one on average, a step leads from the full scale right to it.
This is Pareto Testing (Laufer-Goldshtein, Fisch, Barzilay and Jaakkola, ICLR 2023, arXiv 2210.07913); any
order is valid that was fixed without the images of ``certify``.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from data.records import OutcomeTable, RecordError
from router.constraints import LossName
from training.certificates.bounds import BOUNDS, Sets
from training.certificates.grid import Grid
from training.certificates.path import pareto
from training.certificates.played import Played

Order = Mapping[tuple[LossName, float], Sequence[int]]
"""(loss, epsilon) -> places on a path as they are tested; that of the full scale, 0, is first."""


def as_given(policy: Played, grid: Grid) -> Order:
    """One setting after the other, for every loss and epsilon."""
    cells = itertools.product(grid.losses, grid.epsilons)
    return dict.fromkeys(cells, range(len(policy.choices)))


def learned(policy: Played, grid: Grid) -> Order:
    """By the p-values of ``policy``, which is played on ``tune``, and by the mean loss where those are 1."""
    spent = policy.image_tokens().mean(axis=0)
    found: dict[tuple[LossName, float], Sequence[int]] = {}
    for loss in grid.losses:
        losses = policy.losses(loss)
        sets = Sets.whole(len(losses))
        tests = [(epsilon, range(losses.shape[1])) for epsilon in grid.epsilons]
        mean = losses.mean(axis=0)
        for epsilon, p in zip(grid.epsilons, BOUNDS[loss].along(losses, tests, sets), strict=True):
            # Beyond epsilon on tune all are 1, and tell nothing of what more images may allow. Means are
            # from -1 to 1.
            found[loss, epsilon] = (0, *pareto(np.where(p[0] < 1, p[0], 2 + mean), spent, float(spent[0])))
    return found


def check_apart(tune: OutcomeTable, table: OutcomeTable) -> None:
    """Raises `RecordError` when both tables hold the same image: an order must not know the calibration."""
    common = sorted(set(tune.image_ids) & set(table.image_ids))
    if common:
        raise RecordError(
            f"{tune.split} and {table.split} share {len(common)} images, {common[0]!r} first: the order of "
            "settings is learned on the one and tested on the other. Split by image."
        )
