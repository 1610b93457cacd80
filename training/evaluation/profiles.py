"""Weights under which a data set's fixed scales have given accuracies: the tables seen as another benchmark.

Questions are put into cells; all questions of a cell get one weight. Of all weights the ones nearest to the
data's own are taken whose fixed scales come closest to the target:

    minimise  KL(w || p) + |A'w - t|^2 / (2 RIDGE)    over the simplex,

p: [C] the cells' shares; A: [C, S] their accuracies at every scale; t: [S]. That is entropy balancing
(Hainmueller 2012, Political Analysis 20:25-46) with a quadratic price on what cannot be met. Its dual is
smooth, concave and of S variables, w = p exp(A eta) / Z, and is solved by Newton's method.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.evaluation.frontier import Floats

RIDGE = 1e-4
"""Small: the target is met wherever the cells can meet it, and else nearly as well as they can."""
SMALLEST_CELL = 20
"""Cells of fewer questions are put together: no handful of questions may stand for a benchmark."""
_STEPS = 500


@dataclass(frozen=True)
class Weights:
    """each: [n], mean 1. accuracy: [S] of the fixed scales under them. residual: [S] accuracy - target.

    effective_n: Kish's number of equally weighted questions, (sum w)^2 / sum w^2.
    """

    each: Floats
    accuracy: Floats
    residual: Floats
    effective_n: float
    cells: int


def fit_weights(scores: Floats, cells: NDArray[np.int64], target: Floats) -> Weights:
    """scores: [n, S]; cells: [n] any integers; target: [S] in [0, 1]."""
    if target.shape != scores.shape[1:]:
        raise ValueError(f"The target has shape {target.shape}; the scores have {scores.shape[1]} scales.")
    _, which, sizes = np.unique(cells, return_inverse=True, return_counts=True)
    which, sizes = _without_handfuls(which, sizes)
    share = sizes / len(scores)
    means = np.stack([np.bincount(which, s) / sizes for s in scores.T], axis=1)
    tilted = share * np.exp(_log_tilt(means, np.log(share), target))
    each = (tilted / share)[which]
    accuracy = tilted @ means
    return Weights(
        each=each / each.mean(),
        accuracy=accuracy,
        residual=accuracy - target,
        effective_n=float(each.sum() ** 2 / (each**2).sum()),
        cells=len(sizes),
    )


def _without_handfuls(
    which: NDArray[np.int64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The small cells put together, with the next larger ones until they are no handful either."""
    smallest_first = np.argsort(sizes, kind="stable")
    enough = int(np.searchsorted(np.cumsum(sizes[smallest_first]), SMALLEST_CELL)) + 1
    joined = smallest_first[: max(enough, int((sizes < SMALLEST_CELL).sum()))]
    if not (sizes < SMALLEST_CELL).any():
        return which, sizes
    together = np.where(np.isin(which, joined), len(sizes), which)
    _, which, sizes = np.unique(together, return_inverse=True, return_counts=True)
    return which, sizes


def _log_tilt(means: Floats, log_share: Floats, target: Floats) -> Floats:
    """[C] log w - log p at the optimum."""
    eta = np.zeros(len(target))
    value, log_w = _dual(eta, means, log_share, target)
    for _ in range(_STEPS):
        w = np.exp(log_w)
        mean = w @ means
        slope = target - mean - RIDGE * eta
        if np.abs(slope).max() < 1e-9:
            break
        spread = (means - mean).T @ ((means - mean) * w[:, None]) + RIDGE * np.eye(len(target))
        step = np.linalg.solve(spread, slope)
        # Backtracking: far from the optimum a full step overshoots, for the weights are exponentials.
        for _ in range(40):
            trial, trial_log_w = _dual(eta + step, means, log_share, target)
            if trial >= value + 1e-4 * slope @ step:
                break
            step = step / 2
        else:
            break
        eta, value, log_w = eta + step, trial, trial_log_w
    return log_w - log_share


def _dual(eta: Floats, means: Floats, log_share: Floats, target: Floats) -> tuple[float, Floats]:
    """The dual's value and log w."""
    raised = log_share + means @ eta
    top = raised.max()
    log_z = top + np.log(np.exp(raised - top).sum())
    return float(eta @ target - log_z - RIDGE / 2 * (eta @ eta)), raised - log_z
