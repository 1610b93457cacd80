"""CARES, the context-aware resolution selector: a classifier over scales, read as an expectation.

Source: Kimhi et al., CARES (arXiv 2510.19496), sections 3.2 to 3.4 and 4.1 for the constants.

Followed: the label is the smallest scale that scores at least 0.85 and that no larger one beats by more
than 0.1, else the full scale (equation 2); a classifier is trained on it by cross-entropy with labels
smoothed by 0.05; the choice is the expected resolution (equation 3), rounded up to the next one there is.
A scale's resolution is the side of its grid of tokens.

Departures: the features are those of the published half of SmolVLM-500M over a low-resolution image and
the query, which no table holds. In their place stand the pooled tokens of the small scales and the
question, and its encoder is charged nevertheless. The classifier has a hidden layer. The paper has no
knob: here the expected resolution is multiplied by a factor, and factor 1 is CARES as published.
``cares_routed`` reads our route inputs, for which no encoder runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data.records import OutcomeTable
from m3_backbone.cost import Architecture
from router.features import NEEDS, QUESTION_GROUPS
from router.predictor import Predictions
from training.candidates.base import Examples, no_novelty
from training.candidates.budget import Budget
from training.candidates.peers import along, in_proportion, own_flops, softmax
from training.evaluation.settings import Index, Replay, Settings

if TYPE_CHECKING:
    from torch import Tensor

    from training.candidates.networks import FittedNetwork

OWN = ("pooled", *QUESTION_GROUPS)
ENOUGH = 0.85
MARGIN = 0.1
SMOOTHING = 0.05

_ENCODER = Architecture(  # SmolVLM-500M without layers 17 to 32 and without its head (section 3.3)
    hidden=960,
    intermediate=2560,
    layers=16,
    heads=15,
    kv_heads=5,
    head_dim=64,
    vocabulary=0,
    tower_hidden=768,
    tower_intermediate=3072,
    tower_layers=12,
    tower_patches=1024,
    tower_patch_side=16,
    projector_layers=1,
)
_ENCODER_VISUAL_TOKENS = 64

FACTORS = tuple(np.geomspace(0.02, 50.0, 161).tolist())
"""Values of the knob. The sides of a ladder up to 24 are passed at both ends."""


@dataclass(frozen=True)
class Cares:
    """The candidate. The encoder is charged unless other groups than `OWN` are read."""

    name: str = "cares"
    groups: tuple[str, ...] = OWN
    budget: Budget = field(default_factory=Budget)

    def settled(self, notes: Mapping[str, Any], *, rounds: bool = False) -> Cares:
        """See `training.candidates.base.Settling`."""
        return replace(self, budget=self.budget.settled(notes, rounds=rounds))

    def fit(self, examples: Examples, *, seed: int, threads: int) -> FittedCares:
        """Train the classifier on the smallest scale that is enough."""
        from training.candidates.networks import fit_network, perceptron

        targets = np.eye(examples.scores.shape[1], dtype=np.float32)[enough(examples.scores)]
        targets = (1 - SMOOTHING) * targets + SMOOTHING / targets.shape[1]
        network = fit_network(
            perceptron(examples.features, targets.shape[1]),
            [examples.features],
            [targets],
            _cross_entropy,
            examples.groups,
            budget=self.budget,
            seed=seed,
            threads=threads,
        )
        charge = own_flops(network)
        if self.groups == OWN:
            encoder = in_proportion(encoder_flops(examples.table), examples.table)
            charge = {cost: flops + encoder[cost] for cost, flops in charge.items()}
        return FittedCares(self.name, network, charge)


def cares_routed() -> Cares:
    """CARES with our route inputs."""
    return Cares("cares_routed", tuple(group for group in NEEDS if group != "products"))


@dataclass(frozen=True)
class FittedCares:
    """charge: FLOPs of the classifier, and of the extra encoder where it needs one."""

    name: str
    network: FittedNetwork
    charge: Mapping[str, float]

    @property
    def notes(self) -> dict[str, Any]:
        return self.network.notes

    def predict(self, examples: Examples) -> Predictions:
        """P(scale is enough): the probability that no larger one is the smallest that is, for both heads."""
        p = np.minimum(softmax(self.network(examples.features)).cumsum(axis=1), 1.0).astype(np.float32)
        return Predictions(p, p, no_novelty(len(p)))

    def replay(self, examples: Examples) -> Replay:
        """Factor on the expected resolution -> choices."""
        sides = np.sqrt(examples.table.scales)
        expected = softmax(self.network(examples.features)) @ sides

        def choices(factor: float) -> Index:
            return round_up(factor * expected, sides)

        return choices

    def frontier(self, tune: Examples, examples: Examples) -> tuple[Settings, Settings]:
        """See `training.candidates.base.Frontier`."""
        knob = "factor on the expected resolution"
        return along(self.name, self.replay, tune, examples, knob=knob, values=FACTORS, charge=self.charge)


def enough(scores: NDArray[np.float64]) -> Index:
    """[n] index of the smallest scale that is enough by equation 2, of the largest where none is; [n, S]."""
    later = np.maximum.accumulate(scores[:, ::-1], axis=1)[:, ::-1]  # best of this scale and all larger ones
    fine = (scores >= ENOUGH - 1e-9) & (later - scores <= MARGIN + 1e-9)
    smallest: Index = np.where(fine.any(axis=1), fine.argmax(axis=1), scores.shape[1] - 1)
    return smallest


def round_up(wanted: NDArray[np.float64], sides: NDArray[np.float64]) -> Index:
    """[n] index of the smallest of ``sides`` (rising, [S]) that is at least as large, else of the largest."""
    index: Index = np.minimum(np.searchsorted(sides, wanted - 1e-9), len(sides) - 1).astype(np.int64)
    return index


def encoder_flops(table: OutcomeTable) -> float:
    """FLOPs of the published encoder for one request: one tile of the low-resolution image, and the text."""
    prompt = _ENCODER_VISUAL_TOKENS + round(float(table.text_tokens.mean()))
    return float(_ENCODER.tower_flops(1) + _ENCODER.prefill_flops(prompt))


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return -(targets * logits.log_softmax(dim=1)).sum(dim=1)
