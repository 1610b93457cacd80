"""What an answer at another scale than the full one loses, by image.

regret: max(0, s_full - s), so that gains pay for nothing; net: s_full - s; agreement: 1 where the answer is
not the full scale's (`router.agreement`). It takes no references.

Two long answers that differ in words may say the same. Of these agreement is how likely the full scale's
answer is at the other scale, against how likely it is at the full one: the loss is
1 - min(1, exp(l - l_full)), with l the mean log-probability of its tokens. Where that is not known
(`OutcomeTable.full_logprob`) the loss of other words is 1: that is strict, and valid.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data.records import Texts
from router.agreement import SHORT, normalised
from router.constraints import LossName
from training.certificates.bounds import Floats


class Outcomes(Protocol):
    """What is read of `data.records.OutcomeTable`. Shapes as there."""

    @property
    def scores(self) -> NDArray[np.float64]: ...
    @property
    def answers(self) -> Texts: ...
    @property
    def full_logprob(self) -> NDArray[np.float32]: ...
    @property
    def image_index(self) -> NDArray[np.int64]: ...


def at_scales(table: Outcomes, loss: LossName) -> Floats:
    """[n, S]: the loss of each sample at each scale; 0 at the last, which is the full one."""
    if loss == "agreement":
        return _disagreement(table)
    net: Floats = table.scores[:, -1:] - table.scores
    return np.maximum(net, 0.0) if loss == "regret" else net


def _disagreement(table: Outcomes) -> Floats:
    """[n, S]"""
    other, long = _worded(table)
    nats = table.full_logprob.astype(np.float64)
    less = 1 - np.exp(np.minimum(nats - nats[:, -1:], 0.0))
    lost: Floats = np.where(other, np.where(long[:, None] & np.isfinite(less), less, 1.0), 0.0)
    return lost


def _worded(table: Outcomes) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """[n, S] whether the answer has other words than the full scale's, [n] whether that one is long."""
    said = [[normalised(answer) for answer in row] for row in table.answers.tolist()]
    other = np.array([[words != row[-1] for words in row] for row in said], np.bool_)
    return other, np.array([len(row[-1]) > SHORT for row in said], np.bool_)


def held_to_the_word(table: Outcomes) -> int:
    """How many questions have long answers that are compared word by word, for want of a probability."""
    other, long = _worded(table)
    unknown = ~np.isfinite(table.full_logprob + table.full_logprob[:, -1:])
    return int((long & (other & unknown).any(axis=1)).sum())


def image_means(values: Floats, image_index: NDArray[np.int64]) -> Floats:
    """[m, K]: per image the mean over its samples of ``values`` [K, n].

    Images without a sample, of which a table of one family may have some, are left out.
    """
    _, image_of = np.unique(image_index, return_inverse=True)
    samples = np.bincount(image_of)
    sums = [np.bincount(image_of, each, len(samples)) for each in values]
    return np.stack(sums, axis=1) / samples[:, None]
