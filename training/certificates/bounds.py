"""Tests of "the expected loss is above epsilon", valid for any distribution of the losses and any n.

Losses are those of images (m of them, K settings beside each other): images are exchangeable, the questions
about one image are not. They are tested on B calibration sets of n images each (`Sets`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from router.constraints import LossName

Floats = NDArray[np.float64]

LEVEL = 0.05
"""The delta that bets are sized for; they are valid for any other."""

LARGEST_BET = 0.9
"""As a share of the bet that may lose all."""

_CELLS = 32_768  # values of sets that are bet on at once: 256 KB

Test = tuple[float, Sequence[int]]
"""An epsilon, and the columns of losses in the order in which they are tested for it."""


@dataclass(frozen=True)
class Sets:
    """Calibration sets: order [B, n], the images of each in the order in which bets are made on them."""

    order: NDArray[np.int64]
    images: int

    @classmethod
    def whole(cls, images: int) -> Sets:
        """One set, of every image. Shuffled: a table may have its families one after the other."""
        return cls(np.random.default_rng(0).permutation(images)[None], images)

    @classmethod
    def drawn(cls, images: int, n: int, draws: int, seed: int | tuple[int, ...]) -> Sets:
        """``draws`` sets of ``n`` images, with replacement."""
        return cls(np.random.default_rng(seed).integers(images, size=(draws, n)), images)

    @property
    def n(self) -> int:
        n: int = self.order.shape[1]
        return n

    @cached_property
    def counts(self) -> Floats:
        """[B, images]: how often each image is in each set."""
        sets = len(self.order)
        flat = (self.order + np.arange(sets)[:, None] * self.images).ravel()
        return np.bincount(flat, minlength=sets * self.images).reshape(sets, -1).astype(np.float64)


class PValues(Protocol):
    """P-values [B, K] of the hypotheses E[loss] > epsilon, for losses [m, K]."""

    def __call__(self, losses: Floats, epsilon: float, sets: Sets, /, *, largest: float = 1.0) -> Floats:
        """largest: a p-value above it ends the test along the path; those after it may be given as 1."""
        ...


class Along(Protocol):
    """P-values [B, columns] of each of several tests, for losses [m, K]: what they share is made once."""

    def __call__(
        self, losses: Floats, tests: Sequence[Test], sets: Sets, /, *, largest: float = 1.0
    ) -> list[Floats]:
        """largest: as in `PValues`."""
        ...


@dataclass(frozen=True)
class Bound:
    """A test and the least value that a loss may have. shared: p-values of several tests at once; left out,
    they are made one by one."""

    p_values: PValues
    low: float
    shared: Along | None = None

    def along(
        self, losses: Floats, tests: Sequence[Test], sets: Sets, *, largest: float = 1.0
    ) -> list[Floats]:
        """P-values of each of ``tests``, as `p_values` has them."""
        if self.shared is not None:
            return self.shared(losses, tests, sets, largest=largest)
        return [
            self.p_values(losses[:, list(places)], epsilon, sets, largest=largest)
            for epsilon, places in tests
        ]

    def upper(self, losses: Floats, delta: float) -> float:
        """What the mean of ``losses`` [m] stays under with probability 1 - ``delta``: the least epsilon that
        is refused, to 1e-6 and never below it."""
        low, high, sets = self.low, 1.0, Sets.whole(len(losses))
        while high - low > 1e-6:
            middle = (low + high) / 2
            refused = self.p_values(losses[:, None], middle, sets)[0, 0] <= delta
            low, high = (low, middle) if refused else (middle, high)
        return high

    def smallest_n(self, epsilon: float, delta: float) -> int:
        """Images that lose nothing which are needed before "above ``epsilon``" is refused at ``delta``."""
        none = np.zeros((1, 1))

        def enough(n: int) -> bool:
            sets = Sets(np.zeros((1, n), np.int64), 1)
            return bool(self.p_values(none, epsilon, sets)[0, 0] <= delta)

        high = 1
        while not enough(high):
            high *= 2
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return high


def hoeffding_bentkus(losses: Floats, epsilon: float, sets: Sets, *, largest: float = 1.0) -> Floats:
    """For losses in [0, 1]: the smaller of Hoeffding's and Bentkus' bounds on such a mean, were it epsilon.

    min(exp(-n kl(min(mean, epsilon), epsilon)), e P(Bin(n, epsilon) <= ceil(n mean))): Bates, Angelopoulos,
    Lei, Malik and Jordan, "Distribution-Free, Risk-Controlling Prediction Sets" (2021), section 3.1; as a
    p-value in Angelopoulos, Bates, Candes, Jordan and Lei, "Learn then Test" (2021), section 3. All of them
    cost as much as one: ``largest`` saves nothing.
    """
    return hoeffding_bentkus_along(losses, [(epsilon, range(losses.shape[1]))], sets)[0]


def hoeffding_bentkus_along(
    losses: Floats, tests: Sequence[Test], sets: Sets, *, largest: float = 1.0
) -> list[Floats]:
    """`hoeffding_bentkus` of several tests: the sums over sets are made once."""
    _check(losses, 0.0)
    used = sorted({place for _, places in tests for place in places})
    at = {place: column for column, place in enumerate(used)}
    totals = sets.counts @ losses[:, used]
    return [_hoeffding_bentkus(totals[:, [at[k] for k in places]], sets.n, eps) for eps, places in tests]


def _hoeffding_bentkus(total: Floats, n: int, epsilon: float) -> Floats:
    """total: [B, K] sums over n losses."""
    if not 0 < epsilon < 1:
        return np.ones(total.shape)
    below = np.minimum(total / n, epsilon)
    with np.errstate(divide="ignore", invalid="ignore"):
        kl = np.where(below > 0, below * np.log(below / epsilon), 0.0)
    kl = kl + (1 - below) * (np.log1p(-below) - math.log1p(-epsilon))
    at_most = np.ceil(total - 1e-9).astype(np.int64)  # sums of quarters and thirds are not quite whole
    bentkus = math.e * _binomial_cdf(n, epsilon)[np.clip(at_most, 0, n)]
    p: Floats = np.minimum(1.0, np.minimum(np.exp(-n * kl), bentkus))
    return p


def betting(losses: Floats, epsilon: float, sets: Sets, *, largest: float = 1.0) -> Floats:
    """For losses in [-1, 1]: one over the wealth of one who bets that the mean is below epsilon.

    `bet_against` on x = (loss + 1) / 2 and m = (epsilon + 1) / 2.
    """
    return betting_along(losses, [(epsilon, range(losses.shape[1]))], sets, largest=largest)[0]


def betting_along(losses: Floats, tests: Sequence[Test], sets: Sets, *, largest: float = 1.0) -> list[Floats]:
    """`betting` of several tests."""
    _check(losses, -1.0)
    at = [((epsilon + 1) / 2, places) for epsilon, places in tests]
    return bet_along((losses + 1) / 2, at, sets, largest=largest)


def bet_against(x: Floats, mean: float, sets: Sets, *, largest: float = 1.0) -> Floats:
    """P-values [B, K] of the hypotheses E[x] >= ``mean``, from values [m, K] in [0, 1].

    The wealth prod_i (1 + bet_i (mean - x_i)) is a supermartingale if E[x] >= mean, so it ever reaches 1 / p
    with probability p at most (Ville); the p-value is one over the most that it reached. Bets are the
    predictable plug-in of Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting"
    (2024), section 4: sqrt(2 log(1 / `LEVEL`) / (n variance of the images before)), cut at `LARGEST_BET`.
    """
    return bet_along(x, [(mean, range(x.shape[1]))], sets, largest=largest)[0]


def bet_along(x: Floats, tests: Sequence[Test], sets: Sets, *, largest: float = 1.0) -> list[Floats]:
    """`bet_against` of several tests, of which ``mean`` is the first part: bets before they are cut are made
    once. A few sets at a time, whose values and bets are kept."""
    found = [np.ones((len(sets.order), len(places))) for _, places in tests]
    first: dict[bytes, int] = {}
    same = [first.setdefault(x[:, k].tobytes(), k) for k in range(x.shape[1])]
    step = max(1, _CELLS // sets.n)
    for start in range(0, len(sets.order), step):
        order, kept = sets.order[start : start + step], dict[int, tuple[Floats, Floats]]()
        for p, (mean, places) in zip(found, tests, strict=True):
            if 0 < mean < 1:
                columns = [same[k] for k in places]
                _bet(x, mean, columns, order, kept, p[start : start + step], largest)
    return found


def _bet(
    x: Floats,
    mean: float,
    columns: Sequence[int],
    order: NDArray[np.int64],
    kept: dict[int, tuple[Floats, Floats]],
    p: Floats,
    largest: float,
) -> None:
    """Fill ``p`` [B, columns] for the sets ``order`` [B, n]. kept: column -> its values and bets there."""
    going = np.arange(len(order))
    for k, column in enumerate(columns):
        if k and column == columns[k - 1]:  # neighbours on a path often choose alike
            p[:, k] = p[:, k - 1]
            continue
        if column not in kept:
            values = x[:, column][order]
            kept[column] = values, _plug_in(values)
        values, bets = kept[column]
        if len(going) < len(order):
            values, bets = values[going], bets[going]
        bets = np.minimum(bets, LARGEST_BET / (1 - mean))
        log_wealth = np.cumsum(np.log1p(bets * (mean - values)), axis=1).max(axis=1)
        p[going, k] = np.exp(-np.maximum(log_wealth, 0.0))
        going = going[p[going, k] <= largest]
        if not len(going):
            break


def _plug_in(values: Floats) -> Floats:
    """[B, n] bets, each from the values before it, with half a value of 1/2 and of variance 1/4 at first."""
    n = values.shape[1]
    seen = np.arange(2, n + 2)
    means = (0.5 + np.cumsum(values, axis=1)) / seen
    variances = (0.25 + np.cumsum((values - means) ** 2, axis=1)) / seen
    before = np.concatenate([np.full((len(values), 1), 0.25), variances[:, :-1]], axis=1)
    bets: Floats = np.sqrt(2 * math.log(1 / LEVEL) / (n * before))
    return bets


BOUNDS: dict[LossName, Bound] = {
    "regret": Bound(hoeffding_bentkus, 0.0, hoeffding_bentkus_along),
    "net": Bound(betting, -1.0, betting_along),
    "agreement": Bound(hoeffding_bentkus, 0.0, hoeffding_bentkus_along),
}


def _check(losses: Floats, low: float) -> None:
    if losses.ndim != 2 or not len(losses):
        raise ValueError(f"Losses must be [images, settings] of at least one image, got {losses.shape}.")
    if losses.min() < low - 1e-9 or losses.max() > 1 + 1e-9:
        raise ValueError(
            f"Losses must lie in [{low:g}, 1], got {losses.min():g} to {losses.max():g}. Check the scores."
        )


@lru_cache(maxsize=8)
def _binomial_cdf(n: int, p: float) -> Floats:
    """P(Bin(n, p) <= k) for k = 0 ... n."""
    k = np.arange(n + 1)
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    logs = factorials[n] - factorials[k] - factorials[n - k] + k * math.log(p) + (n - k) * math.log1p(-p)
    cdf: Floats = np.minimum(1.0, np.cumsum(np.exp(logs)))
    return cdf
