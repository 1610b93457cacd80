"""Router predictions and outcome tables -> the model of the second look: exported, calibrated, priced."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from data.records import OutcomeTable
from router.calibration import ScaleMap, apply
from router.cascade import Index, evidence, evidence_width
from router.escalation import Escalation, SecondLook
from router.features import Float32
from router.policy import Mask
from router.predictor import OnnxPredictor, Predictions
from router.prices import Prices
from training.calibrate import Labels, default_price, fit_calibration
from training.candidates.base import Candidate, Examples, Exportable, Logits, heads, predictions
from training.candidates.lightgbm_shared import LightGBMShared
from training.edge_rows import edge_rows
from training.escalation.attempts import attempts
from training.escalation.path import careful_path
from training.evaluation.hybrid import Hybrid
from training.evaluation.passes import confidences
from training.evaluation.settings import PRICES
from training.export import ExportError, check_parity, export


def learner() -> Candidate:
    """What learns the second look: few features, many rows, and gains that are differences between scales."""
    grid = ({"num_leaves": 7, "min_data_in_leaf": 200}, {"num_leaves": 15, "min_data_in_leaf": 200})
    return LightGBMShared(name="escalation", grid=grid)


class Looks(Protocol):
    """A second look that is ready to run: `router.escalation.SecondLook`, or `LibraryLook`."""

    def expected(self, predictions: Predictions, tried: Index, confidence: Float32) -> Float32: ...


@dataclass(frozen=True)
class LibraryLook:
    """The second look as the library that fitted it computes it: for comparisons, which need no graph.

    What `fit_escalation` exports, checks and calibrates says the same within the tolerance of that check.
    """

    logits: Logits
    calibration: tuple[ScaleMap, ...]
    notes: dict[str, Any] = field(default_factory=dict)

    def expected(self, predictions: Predictions, tried: Index, confidence: Float32) -> Float32:
        """See `SecondLook.expected`."""
        raw = heads(self.logits, self.logits.raw(evidence(predictions, tried, confidence)))
        return apply(self.calibration, raw.score)


def fit_look(
    train: Examples,
    held_out: Predictions,
    tune: Examples,
    first: Predictions,
    *,
    seed: int = 0,
    threads: int = 2,
    candidate: Candidate | None = None,
) -> LibraryLook:
    """As `fit_escalation` up to the calibration, without the export."""
    fitted = _fitted(train, held_out, seed, threads, candidate)
    rows = attempts(tune, first)
    raw = predictions(fitted.logits, rows.features)
    maps = fit_calibration(raw, rows.sufficient, rows.scores, rows.groups, seed)
    return LibraryLook(fitted.logits, maps.score, dict(fitted.notes))


@dataclass(frozen=True)
class FittedEscalation:
    """look: ready to run. hybrid: its replay on ``tune``. worst_parity: of graph and library, edges too."""

    escalation: Escalation
    look: SecondLook
    logits: Logits
    hybrid: Hybrid
    worst_parity: float
    notes: dict[str, Any] = field(default_factory=dict)


def fit_escalation(
    train: Examples,
    held_out: Predictions,
    tune: Examples,
    first: Predictions,
    fallback: Mask,
    *,
    seed: int = 0,
    threads: int = 2,
    candidate: Candidate | None = None,
) -> FittedEscalation:
    """Fit on ``train``, calibrate on ``tune``, and set optimism, threshold and prices there.

    held_out: the router's calibrated predictions on ``train``, each by a fit that had not seen the image.
    first: those on ``tune``; fallback: [n] its samples that take the full scale. Raises `ExportError`.
    """
    fitted = _fitted(train, held_out, seed, threads, candidate)
    rows = attempts(tune, first)
    width, n_scales = evidence_width(len(tune.table.scales)), len(tune.table.scales)
    onnx = export(fitted.logits, None, width)
    worst = max(
        check_parity(onnx, predictions(fitted.logits, each), each)
        for each in (rows.features, edge_rows(rows.features, onnx))
    )
    raw = OnnxPredictor(onnx, n_features=width, n_scales=n_scales).predict(rows.features)
    maps = fit_calibration(raw, rows.sufficient, rows.scores, rows.groups, seed)
    # Settings are looked for with the calibrated model; the prices are those of the setting that is found.
    found = Escalation(onnx, maps.score, 1.0, 0.0, Prices(0.0, (0.0,), (0.0,)))
    hybrid = replay(SecondLook(found, n_scales), tune.table, first, fallback)
    optimism, threshold = hybrid.tuned(tune.scores)
    escalation = replace(
        found,
        optimism=optimism,
        threshold=threshold,
        prices=fit_hybrid_prices(hybrid, tune.scores, optimism, threshold),
        path=careful_path(hybrid, tune.scores, optimism),
    )
    notes = {**fitted.notes, "worst_parity": worst}
    return FittedEscalation(escalation, SecondLook(escalation, n_scales), fitted.logits, hybrid, worst, notes)


def _fitted(
    train: Examples, held_out: Predictions, seed: int, threads: int, candidate: Candidate | None
) -> Exportable:
    """The model of the second look, raw. Raises `ExportError` for a candidate without logits."""
    chosen = learner() if candidate is None else candidate
    fitted = chosen.fit(attempts(train, held_out), seed=seed, threads=threads)
    if not isinstance(fitted, Exportable):
        raise ExportError(f"Candidate {chosen.name!r} serves comparison only and makes no graph.")
    return fitted


def replay(look: Looks, table: OutcomeTable, first: Predictions, fallback: Mask) -> Hybrid:
    """The hybrid over ``table``; first: the router's calibrated predictions; fallback: [n]."""
    confidence = confidences(table)
    n, n_scales = first.score.shape
    given = [
        look.expected(first, np.full(n, scale, np.int64), confidence[:, scale])
        for scale in range(n_scales - 1)
    ]
    given.append(first.score)  # there is no scale above the full one: never read
    return Hybrid(first.score, np.stack(given, axis=1), table.visual_tokens.astype(np.float64), fallback)


def fit_hybrid_prices(hybrid: Hybrid, scores: Labels, optimism: float, threshold: float) -> Prices:
    """What prices spend in all passes together, and the default price, chosen as `fit_prices` does."""
    prices, rows = sorted(PRICES), np.arange(len(scores))
    passes = [hybrid.passes(price, optimism, threshold) for price in prices]
    spent = [float(run.tokens(hybrid.visual_tokens).mean()) for run in passes]
    accuracy = [float(scores[rows, run.choice].mean()) for run in passes]
    # A dearer token may lead to more passes now and then: where it matters, the higher mean is the safe one.
    means = np.maximum.accumulate(spent[::-1])[::-1]
    return Prices(
        default=default_price(prices, accuracy, float(scores.mean(axis=0).max())),
        prices=tuple(prices),
        mean_tokens=tuple(means.tolist()),
    )
