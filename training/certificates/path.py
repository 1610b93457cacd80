"""The path of settings that is fixed before any image of ``certify`` is looked at.

From the full scale over prices below 0, at which a token earns a little, to those of the bundle's table,
which were set on ``tune``: the last one buys only the smallest scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from router.certificates import FULL, Setting
from router.prices import Prices

_BELOW_ZERO = -np.geomspace(2e-3, 1e-6, 20)
"""At the first, the 432 tokens from scale 144 to 576 earn nearly all the score that there is; at the last,
next to nothing: a smaller scale is taken wherever it is expected to score higher."""


def fix_path(prices: Prices, thresholds: Sequence[float | None] = (None,)) -> tuple[Setting, ...]:
    """The settings in the order in which they are tested: the full scale, then ever cheaper ones.

    thresholds: of a cascade, from the one with most passes; each price is tried with all of them before
    the next one. They too must not come from ``certify``.
    """
    ascending = [*_BELOW_ZERO.tolist(), *prices.prices]
    return (FULL, *(Setting(price, threshold) for price in ascending for threshold in thresholds))
