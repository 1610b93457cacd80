"""What an answer at another scale than the full one loses, by image.

regret: max(0, s_full - s), so that gains pay for nothing; net: s_full - s; agreement: 1 where the answer is
not the full scale's (`router.agreement`), which takes no references.

Not covered: agreement of long answers by the log-probability of the full scale's answer, which is not in
outcome tables. Here a long answer that differs in a word disagrees: that is strict, and valid.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data.records import Texts
from router.agreement import normalised
from router.constraints import LossName
from training.certificates.bounds import Floats


class Outcomes(Protocol):
    """What is read of `data.records.OutcomeTable`. Shapes as there."""

    @property
    def scores(self) -> NDArray[np.float64]: ...
    @property
    def answers(self) -> Texts: ...
    @property
    def image_index(self) -> NDArray[np.int64]: ...


def at_scales(table: Outcomes, loss: LossName) -> Floats:
    """[n, S]: the loss of each sample at each scale; 0 at the last, which is the full one."""
    if loss == "agreement":
        said = [[normalised(answer) for answer in row] for row in table.answers.tolist()]
        return np.array([[float(words != row[-1]) for words in row] for row in said])
    net: Floats = table.scores[:, -1:] - table.scores
    return np.maximum(net, 0.0) if loss == "regret" else net


def image_means(values: Floats, image_index: NDArray[np.int64]) -> Floats:
    """[m, K]: per image the mean over its samples of ``values`` [K, n].

    Images without a sample, of which a table of one family may have some, are left out.
    """
    _, image_of = np.unique(image_index, return_inverse=True)
    samples = np.bincount(image_of)
    sums = [np.bincount(image_of, each, len(samples)) for each in values]
    return np.stack(sums, axis=1) / samples[:, None]
