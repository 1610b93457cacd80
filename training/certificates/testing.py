"""Fixed-sequence testing: hypotheses in an order fixed beforehand, each at the whole delta, up to the first
that is not refused (Maurer, Hothorn and Lehmacher 1995; "Learn then Test", section 3.2).

With probability 1 - delta no true hypothesis is refused: the first true one on the path would have to be. So
whichever of the refused ones is taken afterwards, and however it is chosen, it is safe.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.certificates.bounds import Floats


def passed(p_values: Floats, delta: float) -> NDArray[np.int64]:
    """How many steps after the full scale each of B tests passes [B], from their p-values [B, K - 1].

    The full scale loses nothing by definition: it needs no test.
    """
    steps: NDArray[np.int64] = np.cumprod(p_values <= delta, axis=1, dtype=np.int64).sum(axis=1)
    return steps


def cheapest(steps: NDArray[np.int64], tokens: Floats) -> NDArray[np.int64]:
    """The cheapest setting up to each of ``steps`` [B], places on a path that spends ``tokens`` [K].

    Of equals the first.
    """
    best = np.array([int(tokens[: step + 1].argmin()) for step in range(len(tokens))])
    taken: NDArray[np.int64] = best[steps]
    return taken
