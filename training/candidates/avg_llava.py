"""AVG-LLaVA's granularity router, trained by feedback of the language model (RGLF).

Source: Lan et al., AVG-LLaVA (arXiv 2410.02745), sections 3.2 and 3.3; constants from the released scripts
(github.com/DeepLearnXMU/AVG-LLaVA, scripts/avg_llava/stage4.sh): margin 1, weight 0.1 of cross-entropy.

Followed: visual tokens of all granularities and the instruction's tokens go through one Transformer layer,
an MLP gives each token a logit per scale, a voter (a weight per position) sums them, a softmax chooses.
The loss ranks scales by the answer's loss, with margins that grow with differences of rank and of loss,
plus cross-entropy towards the scale of least loss.

Departures: of the visual tokens, those that an outcome table stores (random projections of the scales up
to 9); of the instruction, the question vector and learned embeddings of its first 24 tokens, the 512
commonest of all, instead of the language model's embeddings of the 32 most similar to the image; the layer is
32 wide; losses are those of `answer_losses`. The paper has no knob: here log-probabilities are paid for by a
price per visual token, and price 0 is the router as published. ``avg_llava_routed`` has one token
more, our route inputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data.records import OutcomeTable
from m3_backbone.cost import Architecture
from router.features import NEEDS
from router.policy import utility
from router.predictor import Predictions
from training.candidates.base import Examples, no_novelty
from training.candidates.budget import Budget
from training.candidates.peers import along, answer_losses, in_proportion, own_flops, softmax
from training.evaluation.settings import Replay, Settings

if TYPE_CHECKING:
    from training.candidates.networks import FittedNetwork

OWN = ("pooled", "question")
"""Groups of route inputs that are AVG-LLaVA's own: visual tokens and the instruction."""

WORDS = 512
LENGTH = 24
"""Different tokens that have an embedding, and tokens of a question that are read."""

FILTERED = 32
"""Tokens of the instruction that the published router reads."""


@dataclass(frozen=True)
class AvgLlava:
    """The candidate. groups beyond `OWN` are given to the router as one token more."""

    name: str = "avg_llava"
    groups: tuple[str, ...] = OWN
    budget: Budget = field(default_factory=Budget)

    def settled(self, notes: Mapping[str, Any], *, rounds: bool = False) -> AvgLlava:
        """See `training.candidates.base.Settling`."""
        return replace(self, budget=self.budget.settled(notes, rounds=rounds))

    def fit(self, examples: Examples, *, seed: int, threads: int) -> FittedAvgLlava:
        """Train the router on the ranks of the scales' losses."""
        from training.candidates.granularity_router import granularity_router, ranking_loss
        from training.candidates.networks import fit_network

        words = vocabulary(examples.table)
        inputs = router_inputs(examples, words)
        losses = answer_losses(examples.table)
        network = fit_network(
            granularity_router(inputs, len(words) + 1, losses.shape[1]),
            inputs,
            [losses],
            ranking_loss,
            examples.groups,
            budget=self.budget,
            seed=seed,
            threads=threads,
        )
        charge = own_flops(network)
        if self.groups == OWN:
            charge = in_proportion(published_flops(examples.table), examples.table)
        return FittedAvgLlava(self.name, network, words, charge)


def avg_llava_routed() -> AvgLlava:
    """AVG-LLaVA's router with our route inputs."""
    return AvgLlava("avg_llava_routed", tuple(group for group in NEEDS if group != "products"))


@dataclass(frozen=True)
class FittedAvgLlava:
    """words: token id -> row of the embedding. charge: FLOPs of the router, as published where it reads what
    the published one reads."""

    name: str
    network: FittedNetwork
    words: Mapping[int, int]
    charge: Mapping[str, float]

    @property
    def notes(self) -> dict[str, Any]:
        return self.network.notes

    def predict(self, examples: Examples) -> Predictions:
        """The router's probability of each scale, for both heads: how much that scale is preferred."""
        p = softmax(self._logits(examples)).astype(np.float32)
        return Predictions(p, p, no_novelty(len(p)))

    def replay(self, examples: Examples) -> Replay:
        """Price in nats per visual token -> choices."""
        log_p = np.log(softmax(self._logits(examples)))
        return partial(utility, log_p, examples.table.visual_tokens.astype(np.float64))

    def frontier(self, tune: Examples, examples: Examples) -> tuple[Settings, Settings]:
        """See `training.candidates.base.Frontier`."""
        return along(self.name, self.replay, tune, examples, knob="nats per visual token", charge=self.charge)

    def _logits(self, examples: Examples) -> NDArray[np.float32]:
        return self.network(*router_inputs(examples, self.words))


def vocabulary(table: OutcomeTable) -> dict[int, int]:
    """Token id -> row, from 1, of the `WORDS` tokens that most questions hold."""
    counts = Counter(token for tokens in table.question_tokens for token in set(tokens.tolist()))
    most = sorted(counts, key=lambda token: (-counts[token], token))[:WORDS]
    return {token: row for row, token in enumerate(most, start=1)}


def router_inputs(examples: Examples, words: Mapping[int, int]) -> list[NDArray[Any]]:
    """Visual tokens [n, P, D], question vector [n, E], rows of its tokens [n, L] (0: none) and, where the
    candidate reads more than `OWN`, the features of the other groups [n, F]."""
    table = examples.table
    rows = np.zeros((len(table), LENGTH), np.int64)
    for row, tokens in zip(rows, table.question_tokens, strict=True):
        known = [words[token] for token in tokens.tolist() if token in words][:LENGTH]
        row[: len(known)] = known
    inputs: list[NDArray[Any]] = [table.pooled[table.image_index], table.question, rows]
    more = [group for group in examples.spec.groups if group not in OWN]
    if more:
        inputs.append(examples.features[:, examples.spec.columns(more)])
    return inputs


def published_flops(table: OutcomeTable) -> float:
    """FLOPs of the published router beside a 7B model: all scales' tokens through it, at the model's width.

    Per token 4 d^2 of projections, 2 d^2 of the layer's MLP and d^2 of the router's, in multiplications.
    """
    d = Architecture.llava_7b().hidden
    tokens = float(table.visual_tokens.sum(axis=1).mean()) + FILTERED
    return 2 * (7 * d**2 * tokens + 2 * d * tokens**2)
