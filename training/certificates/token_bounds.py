"""What the mean of visual tokens stays under at every price of a bundle, by image; no label is read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.records import OutcomeTable
from router.certificates import Setting, TokenBounds
from router.predictor import Predictions
from router.router import Router
from training.certificates.bounds import Bound, bet_against
from training.certificates.replay import Replay


def token_bounds(
    router: Router, predictions: Predictions, table: OutcomeTable, deltas: Sequence[float]
) -> tuple[TokenBounds, ...]:
    """Bounds at every price of ``router.bundle.prices``, for each of ``deltas``; predictions: on ``table``.

    Betting on tokens / largest cost of an image in the table, by prices from the dearest down: for any budget
    fixed beforehand, the lowest price such that it and all above it keep within the budget is certified by
    fixed-sequence testing. Images that cost more than any of the table are not covered.
    """
    replay = Replay.of(router, predictions, table, [Setting(price) for price in router.bundle.prices.prices])
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
