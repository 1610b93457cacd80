"""What every kind of predictor has in common: fitted on an outcome table, then asked about others.

Shapes: n samples, S scales, F features, C columns of logits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from data.records import OutcomeTable
from router.features import FeatureSpec, Float32
from router.predictor import Predictions
from training.evaluation.results import FLOPS, FLOPS_7B
from training.evaluation.settings import Settings

if TYPE_CHECKING:
    from training.graph import GraphPart

Labels = NDArray[np.float64]


@dataclass(frozen=True)
class Examples:
    """An outcome table as a candidate sees it.

    features: float32 [n, F] of ``spec``. sufficient: bool [n, S]. scores: float64 [n, S] in [0, 1].
    groups: [n], equal for samples of the same image; no fold may split a group.
    """

    table: OutcomeTable
    spec: FeatureSpec
    features: Float32
    sufficient: NDArray[np.bool_]

    @classmethod
    def of(cls, table: OutcomeTable, spec: FeatureSpec, tolerance: float = 0.0) -> Examples:
        """The examples of ``table`` under ``spec``; tolerance: of `OutcomeTable.sufficient`."""
        return cls(table, spec, spec.matrix(table), table.sufficient(tolerance))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def scores(self) -> NDArray[np.float64]:
        return self.table.scores

    @property
    def groups(self) -> NDArray[np.int64]:
        return self.table.image_index


class Fitted(Protocol):
    """A candidate after fitting."""

    def predict(self, examples: Examples) -> Predictions:
        """Uncalibrated predictions [n, S]; novelty is zero."""
        ...


class Candidate(Protocol):
    """A way to learn predictions. ``groups``: the groups of features that it reads."""

    @property
    def name(self) -> str: ...

    @property
    def groups(self) -> tuple[str, ...]: ...

    def fit(self, examples: Examples, *, seed: int, threads: int) -> Fitted: ...


@runtime_checkable
class Composed(Protocol):
    """A candidate that is made of others, each fitted on the same examples with the same seed.

    Where one of them is compared too, its fit serves both.
    """

    @property
    def parts(self) -> Sequence[Any]:
        """Candidates; their ``fit`` is called as this one's."""
        ...

    def fit_from(self, examples: Examples, fitted: Sequence[Any], *, seed: int, threads: int) -> Fitted:
        """What ``fit`` gives, from the parts already ``fitted``."""
        ...


@runtime_checkable
class Settling(Protocol):
    """A candidate that searches for settings, and can go on with those that a fit of it has found."""

    def settled(self, notes: Mapping[str, Any], *, rounds: bool = False) -> Candidate:
        """The candidate with the settings in ``notes`` of a fit of its kind, for which it then does not
        search; it searches as ever for what is not in there.

        rounds: take the numbers of trees or epochs too, where the folds would serve for nothing else.
        """
        ...


def settled(candidate: Candidate, notes: Mapping[str, Any], *, rounds: bool = False) -> Candidate:
    """See `Settling`; a candidate that is none is given back as it is."""
    return candidate.settled(notes, rounds=rounds) if isinstance(candidate, Settling) else candidate


class Logits(Protocol):
    """What predictions are made of: logits [n, C] of features, and which of the columns each head reads.

    sufficient, score: a column for every scale; heads may share columns.
    """

    @property
    def sufficient(self) -> tuple[int, ...]: ...

    @property
    def score(self) -> tuple[int, ...]: ...

    def raw(self, features: Float32) -> Labels:
        """Logits [n, C] as the library that fitted them computes them: what the graph must match."""
        ...

    def graph(self, width: int) -> GraphPart:
        """The same as a part of an ONNX graph. width: F."""
        ...

    @property
    def flops(self) -> float:
        """Per request: a multiply-accumulate is 2, a comparison is 1."""
        ...


def predictions(logits: Logits, features: Float32) -> Predictions:
    """What the logits say of ``features`` [n, F]."""
    return heads(logits, logits.raw(features))


def heads(logits: Logits, raw: Labels) -> Predictions:
    """``raw`` logits [n, C] through a sigmoid, in double precision until the end."""
    raw = np.clip(raw, -700.0, 700.0)  # exp of more overflows
    p = (1 / (1 + np.exp(-raw))).astype(np.float32)
    return Predictions(p[:, list(logits.sufficient)], p[:, list(logits.score)], no_novelty(len(raw)))


@runtime_checkable
class Exportable(Protocol):
    """A fitted candidate that can be put into a bundle, with what is worth knowing about its fit."""

    @property
    def logits(self) -> Logits: ...

    @property
    def notes(self) -> dict[str, Any]:
        """Plain numbers for the manifest: settings chosen, trees per column, losses on held-out folds."""
        ...


@runtime_checkable
class Charged(Protocol):
    """A fitted candidate whose decision costs FLOPs worth counting: an encoder, a layer, a look-up."""

    @property
    def charge(self) -> Mapping[str, float]:
        """FLOPs per request by cost name: ``flops`` on the table's backbone, ``flops_7b`` at the 7B shape.
        What the route inputs themselves cost is not in it."""
        ...


@runtime_checkable
class Frontier(Protocol):
    """A fitted candidate that does more than predict before the language model runs, such as a cascade.

    `m3-train compare` replays the predictions of other candidates by price; this one is asked for settings.
    """

    def frontier(self, tune: Examples, examples: Examples) -> tuple[Settings, Settings]:
        """The same settings, cheapest first, on ``tune`` (which may calibrate them) and on ``examples``,
        whose scores choose nothing."""
        ...


@dataclass(frozen=True)
class FittedLogits:
    """A fitted candidate whose logits are all there is to it.

    held_out: [n, C] logits of every row it was fitted on, by a fit that had not seen the row's image; empty
    where the numbers of trees or epochs were known, so that there were no such fits.
    """

    logits: Logits
    held_out: Labels
    notes: dict[str, Any]

    @property
    def charge(self) -> Mapping[str, float]:
        """See `Charged`: the predictor's own FLOPs, whatever the backbone."""
        return dict.fromkeys((FLOPS, FLOPS_7B), self.logits.flops)

    def predict(self, examples: Examples) -> Predictions:
        return predictions(self.logits, examples.features)


def head_labels(examples: Examples) -> tuple[Labels, bool]:
    """([n, C] a column per head and scale, whether the heads share columns).

    They do when their labels are the same (a metric of 0 and 1 with no tolerance): a scale is then
    sufficient exactly when its score is 1. Otherwise the columns of sufficient come first.
    """
    sufficient = examples.sufficient.astype(np.float64)
    if np.array_equal(examples.scores, sufficient):
        return examples.scores, True
    return np.concatenate([sufficient, examples.scores], axis=1), False


def head_columns(n_scales: int, n_columns: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(columns of sufficient, columns of score) of labels made by `head_labels`."""
    return tuple(range(n_scales)), tuple(range(n_columns - n_scales, n_columns))


def no_novelty(n: int) -> Float32:
    """[n] zeros: a candidate says nothing about novelty."""
    return np.zeros(n, dtype=np.float32)


def image_folds(groups: NDArray[np.int64], n_folds: int, seed: int) -> NDArray[np.int64]:
    """[n] fold of each sample; samples of one image share a fold, and folds have equally many images."""
    images, index = np.unique(groups, return_inverse=True)
    if len(images) < n_folds:
        raise ValueError(f"{len(images)} images cannot be put into {n_folds} folds: label more images.")
    order = np.random.default_rng(seed).permutation(len(images))
    fold: NDArray[np.int64] = (order % n_folds)[index]
    return fold


def log_loss(y: NDArray[Any], p: NDArray[np.floating]) -> float:
    """Mean cross-entropy in nats; y in [0, 1] may be soft."""
    q = np.clip(p.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-(y * np.log(q) + (1 - y) * np.log(1 - q)).mean())


def by_name(name: str, candidates: Sequence[Candidate]) -> Candidate:
    """The candidate called ``name``; ValueError listing them otherwise."""
    for candidate in candidates:
        if candidate.name == name:
            return candidate
    raise ValueError(f"No candidate is called {name!r}: take one of {', '.join(c.name for c in candidates)}.")
