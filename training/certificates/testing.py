"""Fixed-sequence testing: hypotheses in an order fixed beforehand, each at the whole delta, up to the first
that is not refused (Maurer, Hothorn and Lehmacher 1995; "Learn then Test", section 3.2).

With probability 1 - delta no true hypothesis is refused: the first true one on the path would have to be.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.certificates.bounds import Floats


def passed(p_values: Floats, delta: float) -> NDArray[np.int64]:
    """The step that each of B tests stops at [B], from p-values [B, K] along the path.

    Step 0 is the full scale, whose loss is 0 by definition: it needs no test, and its p-value is not read.
    """
    refused = p_values[:, 1:] <= delta
    steps: NDArray[np.int64] = np.cumprod(refused, axis=1, dtype=np.int64).sum(axis=1)
    return steps
