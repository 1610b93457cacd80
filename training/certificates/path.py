"""The paths of settings that are fixed before any image of ``certify`` is looked at."""

from __future__ import annotations

import numpy as np

from router.certificates import FULL, Setting
from router.escalation import Escalation
from router.prices import Prices

_BELOW_ZERO = -np.geomspace(2e-3, 1e-6, 20)
"""At the first, the 432 tokens from scale 144 to 576 earn nearly all the score that there is; at the last,
next to nothing: a smaller scale is taken wherever it is expected to score higher."""


def price_path(prices: Prices) -> tuple[Setting, ...]:
    """From the full scale over prices below 0, at which a token earns a little, to those of the bundle's
    table, which were set on ``tune``: the last one buys only the smallest scale."""
    return (FULL, *(Setting(price) for price in (*_BELOW_ZERO.tolist(), *prices.prices)))


def cascade_path(escalation: Escalation | None) -> tuple[Setting, ...]:
    """From the full scale along the path that was fixed with the second look; empty without one."""
    return (FULL, *escalation.path) if escalation is not None and escalation.path else ()
