"""Whether certificates hold: many calibration sets from a population whose risks are known.

The population is a whole outcome table; a calibration set is n of its images, drawn with replacement. A
certificate is violated when the risk over the population of any setting that passed is above epsilon, which
may happen in a share of at most delta of the sets. (That it is any, and not the one that is taken, is what
fixed-sequence testing promises, and more than is needed.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from data.records import OutcomeTable
from router.constraints import LossName
from router.predictor import Predictions
from training.certificates.bounds import BOUNDS, Sets
from training.certificates.grid import Grid
from training.certificates.losses import at_scales
from training.certificates.ordering import Order
from training.certificates.played import Played
from training.certificates.testing import cheapest, passed

DRAWS = 1000
CONFIDENCE = 0.95
_ROUNDING = 1e-12  # of a mean over thousands of images
BAD = "reversed"
"""The name of a policy that is bad on purpose."""
EDGE = "just above"
"""The name of one whose settings are as close to certifiable as a wrong one can be."""
_BEYOND = 1e-3  # how far above an epsilon its risk is


@dataclass(frozen=True)
class Simulated:
    """One policy under one certificate of the grid, over ``draws`` calibration sets of ``n_images``.

    low, high: Clopper-Pearson limits of the violation rate. tokens: mean visual tokens in the population of
    what was certified, averaged over the sets. known: those of the setting that would be taken if the
    population were known; what is above them is the price of proof. nothing: share of sets in which nothing
    cheaper than the full scale passed.
    """

    policy: str
    loss: LossName
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
        tokens = played.image_tokens().mean(axis=0)
        for loss in grid.losses:
            losses = played.losses(loss)
            n = len(losses) if n_images is None else n_images
            sets = _drawn(len(losses), n, draws, seed)
            for epsilon in grid.epsilons:
                places = list(order[loss, epsilon])
                p = BOUNDS[loss].p_values(losses[:, places[1:]], epsilon, sets, largest=max(grid.deltas))
                above = np.flatnonzero(losses[:, places].mean(axis=0) > epsilon + _ROUNDING)
                first = int(above[0]) if above.size else len(places)  # the first step that may not pass
                known = cheapest(np.array([first - 1]), tokens[places])
                for delta in grid.deltas:
                    steps = passed(p, delta)
                    violations = int((steps >= first).sum())
                    low, high = clopper_pearson(violations, draws)
                    taken = cheapest(steps, tokens[places])
                    found.append(
                        Simulated(
                            policy=name,
                            loss=loss,
                            epsilon=epsilon,
                            delta=delta,
                            n_images=n,
                            draws=draws,
                            violations=violations,
                            low=low,
                            high=high,
                            tokens=float(tokens[places][taken].mean()),
                            known=float(tokens[places][known].mean()),
                            full=float(tokens[0]),
                            nothing=float((taken == 0).mean()),
                        )
                    )
    return found


@lru_cache(maxsize=1)
def _drawn(images: int, n: int, draws: int, seed: int) -> Sets:
    return Sets.drawn(images, n, draws, seed)


def reversed_scales(predictions: Predictions) -> Predictions:
    """Predictions that are wrong on purpose: what is said of the smallest scale is told of the largest."""
    return Predictions(
        np.ascontiguousarray(predictions.sufficient[:, ::-1]),
        np.ascontiguousarray(predictions.score[:, ::-1]),
        predictions.novelty,
    )


def just_above(table: OutcomeTable, epsilons: Sequence[float]) -> Played:
    """Bad on purpose where it is hardest to tell: at each of ``epsilons`` a setting whose regret in the
    population is just above it, so that violations come about as often as a tight test lets them.

    Samples are given the scale at which they lose most, in a random order, until the mean loss is there. An
    epsilon that not even all of them reach has no setting.
    """
    regret = at_scales(table, "regret")
    n, last = len(regret), len(table.scales) - 1
    worst = regret.argmax(axis=1)
    _, image, sizes = np.unique(table.image_index, return_inverse=True, return_counts=True)
    lost = regret[np.arange(n), worst] / sizes[image] / len(sizes)
    order = np.random.default_rng(0).permutation(np.flatnonzero(lost))
    risk = lost[order].cumsum()
    choices = [np.full(n, last, np.int8)]
    for epsilon in sorted(epsilons):
        flipped = order[: 1 + int(np.searchsorted(risk, epsilon + _BEYOND))]
        if len(order) and risk[-1] > epsilon + _BEYOND:
            choice = np.full(n, last, np.int8)
            choice[flipped] = worst[flipped]
            choices.append(choice)
    tokens = [table.visual_tokens[np.arange(n), choice] for choice in choices]
    return Played(table, np.stack(choices), np.stack(tokens).astype(np.float64))


def clopper_pearson(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Two-sided interval of a binomial proportion (Clopper and Pearson 1934)."""
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else _solve(lambda p: 1 - _at_most(successes - 1, trials, p) >= tail)
    high = 1.0 if successes == trials else _solve(lambda p: _at_most(successes, trials, p) <= tail)
    return low, high


def _solve(holds: Callable[[float], bool]) -> float:
    """The least p, to 1e-9, from which on ``holds``."""
    low, high = 0.0, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return (low + high) / 2


def _at_most(k: int, n: int, p: float) -> float:
    """P(Bin(n, p) <= k) for p inside of (0, 1)."""
    logs: list[float] = [
        math.lgamma(n + 1)
        - math.lgamma(i + 1)
        - math.lgamma(n - i + 1)
        + i * math.log(p)
        + (n - i) * math.log1p(-p)
        for i in range(k + 1)
    ]
    terms: NDArray[np.float64] = np.exp(np.array(logs))
    return float(min(1.0, terms.sum()))
