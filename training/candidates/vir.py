"""ViR, InternVL3.5's visual resolution router: is the loss under compression too large a multiple?

Source: Wang et al., InternVL3.5 (arXiv 2508.18265), section on Visual Consistency Learning, equations 8, 9.

Followed: a binary classifier that sees the image's visual tokens alone. Its label is whether the ratio of
the loss with compressed tokens to the loss with all of them reaches a threshold; the threshold is a
percentile of the ratios in training, set so that both labels are equally frequent; cross-entropy.

Departures: one decision per image and question instead of one per patch, for M3 has one scale per image;
one output per scale below the full one instead of one compression rate, the smallest scale that passes
being chosen; losses are those of `answer_losses` instead of the divergence from the uncompressed model's
answer; the percentile is taken once over all of router-train instead of in a sliding window. The knob is
the probability of a significant loss from which on a scale is refused, and 0.5 is ViR as published.
``vir_routed`` reads our route inputs, the question with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from router.features import NEEDS, Float32
from router.predictor import Predictions
from training.candidates.base import Examples, no_novelty
from training.candidates.budget import Budget
from training.candidates.peers import along, answer_losses, own_flops
from training.evaluation.settings import Index, Replay, Settings

if TYPE_CHECKING:
    from torch import Tensor

    from training.candidates.networks import FittedNetwork

OWN = ("pooled",)
BALANCED = 0.5

THRESHOLDS = (2.0, *(1 / (1 + np.exp(-np.linspace(9.0, -9.0, 181)))).tolist(), 0.0)
"""Values of the knob, cheapest first: none is refused, ..., all but the full scale are."""


@dataclass(frozen=True)
class ViR:
    """The candidate."""

    name: str = "vir"
    groups: tuple[str, ...] = OWN
    budget: Budget = field(default_factory=Budget)

    def settled(self, notes: Mapping[str, Any], *, rounds: bool = False) -> ViR:
        """See `training.candidates.base.Settling`."""
        return replace(self, budget=self.budget.settled(notes, rounds=rounds))

    def fit(self, examples: Examples, *, seed: int, threads: int) -> FittedViR:
        """Train a classifier per scale below the full one."""
        from training.candidates.networks import fit_network, perceptron

        labels = significant(answer_losses(examples.table))
        network = fit_network(
            perceptron(examples.features, labels.shape[1]),
            [examples.features],
            [labels],
            _cross_entropy,
            examples.groups,
            budget=self.budget,
            seed=seed,
            threads=threads,
        )
        return FittedViR(self.name, network)


def vir_routed() -> ViR:
    """ViR with our route inputs."""
    return ViR("vir_routed", tuple(group for group in NEEDS if group != "products"))


@dataclass(frozen=True)
class FittedViR:
    """The classifiers of all scales below the full one, as one network."""

    name: str
    network: FittedNetwork

    @property
    def notes(self) -> dict[str, Any]:
        return self.network.notes

    @property
    def charge(self) -> Mapping[str, float]:
        """See `training.candidates.base.Charged`: the classifiers."""
        return own_flops(self.network)

    def predict(self, examples: Examples) -> Predictions:
        """P(compression to the scale costs nothing that is significant), for both heads."""
        loses = self.significance(examples)
        p = np.concatenate([1 - loses, np.ones((len(loses), 1))], axis=1).astype(np.float32)
        return Predictions(p, p, no_novelty(len(p)))

    def significance(self, examples: Examples) -> NDArray[np.float64]:
        """P(significant loss) at every scale below the full one [n, S - 1]."""
        logits = self.network(examples.features).astype(np.float64)
        p: NDArray[np.float64] = 1 / (1 + np.exp(-logits))
        return p

    def replay(self, examples: Examples) -> Replay:
        """Threshold -> choices: the smallest scale below it in P(significant loss), else the full scale."""
        loses = self.significance(examples)

        def choices(threshold: float) -> Index:
            passes = np.concatenate([loses < threshold, np.ones((len(loses), 1), np.bool_)], axis=1)
            index: Index = passes.argmax(axis=1).astype(np.int64)
            return index

        return choices

    def frontier(self, tune: Examples, examples: Examples) -> tuple[Settings, Settings]:
        """See `training.candidates.base.Frontier`."""
        knob = "probability of a significant loss"
        return along(self.name, self.replay, tune, examples, knob=knob, values=THRESHOLDS, charge=self.charge)


def significant(losses: Float32) -> Float32:
    """Labels [n, S - 1] of equation 9: 1 where the ratio to the full scale's loss is above its median.

    Above, not at it: where most scales answer alike the median is 1, which is no loss.
    """
    ratio = losses[:, :-1] / losses[:, -1:]
    labels: Float32 = (ratio > np.quantile(ratio, BALANCED)).astype(np.float32)
    return labels


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    from torch.nn.functional import binary_cross_entropy_with_logits

    return binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(dim=1)
