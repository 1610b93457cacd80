"""What the rebuilt methods of others share: answer losses, settings along a method's own knob, extra FLOPs.

Shapes: n samples, S scales.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data.records import OutcomeTable
from m3_backbone.cost import Architecture
from router.features import Float32
from training.candidates.base import Examples
from training.evaluation.pricing import price
from training.evaluation.results import FLOPS, FLOPS_7B
from training.evaluation.settings import PRICE, Replay, Settings, at_prices, sweep

if TYPE_CHECKING:
    from training.candidates.networks import FittedNetwork

CERTAIN = 0.99
"""Answers are at most this probable: below 0.01 nats, differences and ratios of losses say nothing."""


def answer_losses(table: OutcomeTable) -> Float32:
    """The reference answer's loss in nats per token at every scale [n, S], as far as a table knows it.

    Methods that learn from losses use those of the reference answer, which a table does not store: it has
    the probability p of the answer that was given (``mean_logprob`` over ``answer_tokens``). A right answer
    is the reference (in one of its spellings), so its loss is -log p. A wrong one leaves the reference at
    most 1 - p, and, being the greedy answer, hardly more than p: its loss is taken as -log min(p, 1 - p).
    Scores between 0 and 1 mix the two. Per token, as a model's cross-entropy is averaged: of the answer that
    was given, for the reference's length is not known either.
    """
    length = np.maximum(table.answer_tokens, 1)
    p = np.exp(table.mean_logprob.astype(np.float64) * table.answer_tokens)
    p = np.clip(p, 1 - CERTAIN, CERTAIN)
    right, wrong = -np.log(p), -np.log(np.minimum(p, 1 - p))
    losses: Float32 = ((table.scores * right + (1 - table.scores) * wrong) / length).astype(np.float32)
    return losses


def along(
    name: str,
    replay: Callable[[Examples], Replay],
    tune: Examples,
    examples: Examples,
    *,
    knob: str = PRICE,
    values: Sequence[float] | None = None,
    charge: Mapping[str, float] | None = None,
) -> tuple[Settings, Settings]:
    """The method's settings along its knob, those that ``tune`` spaces evenly in cost, on both tables.

    replay: examples -> (value of the knob -> choices). values: cheapest first; left out, prices. No label
    is looked at.
    """
    on_tune = sweep(name, replay(tune), tune.table.visual_tokens, charge, knob=knob, values=values)
    return on_tune, at_prices(name, replay(examples), on_tune.targets, charge, knob=knob)


def own_flops(network: FittedNetwork) -> dict[str, float]:
    """The charge for ``network`` itself, whatever the backbone."""
    return dict.fromkeys((FLOPS, FLOPS_7B), network.flops)


def in_proportion(flops_7b: float, table: OutcomeTable) -> dict[str, float]:
    """The charge for a part that costs ``flops_7b`` beside a 7B model.

    On the table's own backbone it is charged the same share of a request at the full scale.
    """
    share = flops_7b / price(table, Architecture.llava_7b())[:, -1].mean()
    return {FLOPS: float(share * table.flops[:, -1].mean()), FLOPS_7B: flops_7b}


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Over the last axis."""
    raised = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    out: NDArray[np.float64] = raised / raised.sum(axis=-1, keepdims=True)
    return out
