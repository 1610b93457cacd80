"""A small network in which the question attends to the pooled tokens of the image.

The features hold a coarse picture: the projected tokens of scales 1 and 9 (`m3_backbone.summary`), each
at its place; with the group ``fine`` also those of scale 36. Trees cut single numbers of it; here the
question's vector and words choose which places to read, and what was read is weighed with the question.
Targets are soft: the score at every scale, and, as a second task that is dropped after fitting, how probable
the backbone held its answer at every scale. What a score of 0 or 1 owes to luck shows in the answer's
probability.

Shapes: n samples, F features, P pooled tokens of D numbers, H width, h heads, C columns, S scales.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from router.features import FINER, NEEDS, QUESTION_GROUPS, FeatureSpec, Float32
from training.candidates.base import (
    Examples,
    FittedLogits,
    Labels,
    head_columns,
    head_labels,
    log_loss,
)
from training.candidates.budget import Budget

if TYPE_CHECKING:
    from training.candidates.networks import FittedNetwork
    from training.graph import GraphPart

LIMIT = 6.0
"""Standardised features are cut off here, so that no input takes the network where it was never fitted."""


@dataclass(frozen=True)
class Sizes:
    """width: H; heads: h, which divides H; hidden: of the layers after the attention."""

    width: int = 48
    heads: int = 4
    hidden: int = 96


@dataclass(frozen=True)
class Columns:
    """Which features are what. pooled: (P, D) at ``tokens`` [P D]; question, rest: all others.

    Features without pooled tokens have one of no numbers, so that what the network reads is learned alone.
    """

    pooled: tuple[int, int]
    tokens: NDArray[np.int64]
    question: NDArray[np.int64]
    rest: NDArray[np.int64]
    words: NDArray[np.int64]  # those of ``question`` that are 0 or 1, and are left so

    @classmethod
    def of(cls, spec: FeatureSpec) -> Columns:
        """Raises `ValueError` for features without a question."""
        tokens, question = spec.columns(("pooled", "fine")), spec.columns(QUESTION_GROUPS)
        if not len(question):
            raise ValueError(
                f"The features {', '.join(spec.groups)} hold nothing of the question, which attention needs: "
                "add groups, or choose another candidate."
            )
        others = [group for group in spec.groups if group not in ("pooled", "fine", *QUESTION_GROUPS)]
        depth = spec.pooled_shape[1]
        shape = (len(tokens) // depth, depth) if len(tokens) else (1, 0)
        return cls(shape, tokens, question, spec.columns(others), spec.columns(("words",)))


@dataclass(frozen=True)
class AttentionLogits:
    """The fitted network without its second task; fields as in `Logits`."""

    network: FittedNetwork
    columns: Columns
    sizes: Sizes
    sufficient: tuple[int, ...]
    score: tuple[int, ...]

    @property
    def n_columns(self) -> int:
        return 1 + max(self.score)

    @property
    def flops(self) -> float:
        """Two per weight of every layer, and what stands between them."""
        weights, (places, _), width = self.network.weights, self.columns.pooled, self.sizes.width
        at_places = ("token", "key", "value")  # these run once for each of P
        layers = sum(
            2.0 * value.size * (places if name.partition(".")[0] in at_places else 1)
            for name, value in weights.items()
            if name.endswith(".weight")
        )
        features = weights["standardise.mean"].size
        return layers + 4.0 * places * width + 4.0 * features + 5.0 * width

    def raw(self, features: Float32) -> Labels:
        """See `Logits.raw`; torch computes in single precision."""
        return self.network(features)[:, : self.n_columns].astype(np.float64)

    def graph(self, width: int) -> GraphPart:
        """What `training.candidates.attention_module.AttentionModule.forward` does, node by node."""
        from router.predictor import INPUT
        from training.graph import GraphBuilder

        weights, columns, sizes = self.network.weights, self.columns, self.sizes
        places, heads, each = columns.pooled[0], sizes.heads, sizes.width // sizes.heads
        build = GraphBuilder("attention")

        def layer(x: str, name: str) -> str:
            matrix = np.ascontiguousarray(weights[f"{name}.weight"].T)
            return build.add("Add", build.add("MatMul", x, matrix), weights[f"{name}.bias"])

        def split(x: str, rows: int, *order: int) -> str:
            shape = np.array([-1, rows, heads, each], np.int64)
            return build.add("Transpose", build.add("Reshape", x, shape), perm=list(order))

        centred = build.add("Sub", INPUT, weights["standardise.mean"])
        scaled = build.add("Mul", centred, weights["standardise.factor"])
        limits = [np.array(sign * LIMIT, np.float32) for sign in (-1, 1)]
        z = build.add("Clip", scaled, *limits)
        if len(columns.tokens):
            grid = build.add(
                "Reshape",
                build.add("Gather", z, columns.tokens, axis=1),
                np.array([-1, *columns.pooled], np.int64),
            )
            placed = build.add("Add", layer(grid, "token"), weights["place"])
        else:
            placed = build.constant(weights["place"][None])
        tokens = build.add("Relu", placed)  # [n, P, H], or [1, 1, H]
        asked = build.add("Gather", z, columns.question, axis=1)
        question = build.add("Relu", layer(asked, "question"))  # [n, H]
        query = split(layer(question, "query"), 1, 0, 2, 1, 3)  # [n, h, 1, H / h]
        key = split(layer(tokens, "key"), places, 0, 2, 3, 1)  # [n, h, H / h, P]
        value = split(layer(tokens, "value"), places, 0, 2, 1, 3)  # [n, h, P, H / h]
        root = np.array(each**-0.5, np.float32)
        match = build.add("Softmax", build.add("Mul", build.add("MatMul", query, key), root), axis=-1)
        read = build.add("MatMul", match, value)  # [n, h, 1, H / h]
        read = build.add("Reshape", read, np.array([-1, sizes.width], np.int64))
        both = build.add("Mul", read, question)
        rest = build.add("Gather", z, columns.rest, axis=1)
        joined = build.add("Concat", read, question, both, rest, axis=1)
        hidden = build.add("Relu", layer(joined, "hidden"))
        deeper = build.add("Add", hidden, build.add("Relu", layer(hidden, "deeper")))
        last = np.ascontiguousarray(weights["out.weight"][: self.n_columns].T)
        logits = build.add("Add", build.add("MatMul", deeper, last), weights["out.bias"][: self.n_columns])
        return build.part(logits, f"fit a narrower network (width {sizes.width}, hidden {sizes.hidden} now)")


@dataclass(frozen=True)
class Attention:
    """The candidate. groups: of features; answer_weight: of the second task's loss beside the first's."""

    name: str = "attention"
    groups: tuple[str, ...] = tuple(group for group in NEEDS if group != "products")
    sizes: Sizes = Sizes()
    dropout: float = 0.2
    answer_weight: float = 0.3
    budget: Budget = field(default_factory=Budget)

    def settled(self, notes: Mapping[str, Any], *, rounds: bool = False) -> Attention:
        """See `training.candidates.base.Settling`."""
        return replace(self, budget=self.budget.settled(notes, rounds=rounds))

    def fit(self, examples: Examples, *, seed: int, threads: int) -> FittedLogits:
        """As `training.candidates.networks.fit_network` does it."""
        from training.candidates.attention_module import answer_loss, builder
        from training.candidates.networks import fit_network

        labels, shared = head_labels(examples)
        columns = Columns.of(examples.spec)
        n_scales, n_columns = examples.scores.shape[1], labels.shape[1]
        answers = np.exp(np.minimum(examples.table.mean_logprob, 0.0)).astype(np.float32)
        network = fit_network(
            builder(examples.features, columns, self.sizes, n_columns + n_scales, self.dropout),
            [examples.features],
            [labels.astype(np.float32), answers],
            answer_loss(self.answer_weight),
            examples.groups,
            budget=self.budget,
            seed=seed,
            threads=threads,
        )
        held_out = network.held_out[:, :n_columns].astype(np.float64)
        p = 1 / (1 + np.exp(-held_out))
        losses = [round(log_loss(labels[:, c], p[:, c]), 5) for c in range(n_columns) if len(p)]
        notes = {**network.notes, "held_out_log_loss": losses, "heads_shared": shared}
        logits = AttentionLogits(network, columns, self.sizes, *head_columns(n_scales, n_columns))
        return FittedLogits(logits, held_out, notes)


def attention_fine() -> Attention:
    """The same over the tokens of scales 1, 9 and 36."""
    return Attention("attention_fine", (*Attention().groups, *FINER))
