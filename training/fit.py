"""Outcome tables -> a bundle: features, fit on router-train, calibrate on tune, export, check.

Not covered: choosing between candidates (reports do, on ``dev``) and certificates.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.records import IDENTITY, OutcomeTable, RecordError, read_outcomes
from m3_backbone.scales import Ladder
from m3_backbone.types import SUMMARY_VERSION
from router.bundle import Bundle
from router.features import FROM_TEXT, IMAGE_GROUPS, NEEDS, FeatureSpec, Float32
from router.predictor import OnnxPredictor, Predictions
from router.request_numbers import RECORDED, to_record
from training.calibrate import calibrated, fit_calibration, fit_prices
from training.candidates.base import Candidate, Examples, Exportable, Logits, log_loss, predictions
from training.edge_rows import edge_rows
from training.escalation.attempts import held_out
from training.escalation.fit import fit_escalation
from training.export import ExportError, check_parity, export
from training.novelty import QUANTILE, Novelty, fit_novelty, threshold
from training.vocabulary import choose_phrases, choose_words, n_words, principal_directions, told_by

log = logging.getLogger(__name__)

DIRECTIONS = 4


@dataclass(frozen=True)
class ScaleReport:
    """How one scale's expected score fared on ``tune``, log losses in nats."""

    scale: int
    mean_score: float
    chance_log_loss: float  # of always saying the mean
    raw_log_loss: float
    log_loss: float  # calibrated; in sample
    trees: int | None  # None where there are none


@dataclass(frozen=True)
class FitResult:
    """A bundle not yet written, and what to tell about it.

    worst_parity: largest difference of the graph from the predictor as fitted, on tune and on edge values.
    """

    bundle: Bundle
    scales: tuple[ScaleReport, ...]
    worst_parity: float


def outcomes_hash(folder: Path) -> str:
    """Of the manifest of the table in ``folder``, which holds the hashes of its files."""
    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


def read_tables(folder: Path) -> tuple[OutcomeTable, OutcomeTable]:
    """(router-train, tune) from ``folder``. Raises `data.records.RecordError`, also for another split."""
    tables = []
    for split in ("router-train", "tune"):
        table = read_outcomes(folder / split)
        if table.split != split:
            raise RecordError(
                f"{folder / split} holds the split {table.split!r}: routers are fitted on router-train and "
                "calibrated on tune alone, so that the others stay unseen."
            )
        tables.append(table)
    return tables[0], tables[1]


def build_spec(table: OutcomeTable, groups: tuple[str, ...] = tuple(NEEDS)) -> FeatureSpec:
    """The features of a router fitted on ``table``: router-train, for words are chosen by their labels."""
    words: tuple[int, ...] = ()
    bigrams: tuple[tuple[int, int], ...] = ()
    targets, k = told_by(table.scores), n_words(len(table))
    if "words" in groups:
        words, bigrams = choose_words(table.question_tokens, targets, k)
    return FeatureSpec(
        grid_stat_names=table.grid_stat_names,
        pooled_shape=(table.pooled.shape[1], table.pooled.shape[2]),
        question_size=table.question.shape[1],
        interaction_names=table.interaction_names,
        words=words,
        bigrams=bigrams,
        basis=principal_directions(table.question, DIRECTIONS) if "products" in groups else (),
        groups=groups,
        fine_rows=finer(table).shape[1] if "fine" in groups else 0,
        phrases=choose_phrases(table.questions, targets, k) if "phrases" in groups else (),
        summary_version=summary_version(table),
    )


def finer(table: OutcomeTable) -> Float32:
    """Its finer pooled tokens [m, R, D]; raises `RecordError` where it has none."""
    if not table.fine.shape[1]:
        raise RecordError(
            f"The table {table.split!r} has no finer pooled tokens, which this candidate reads and which lie "
            "in a cache beside a table: make it with `m3-train grids`."
        )
    return table.fine


def summary_version(table: OutcomeTable) -> int:
    """Version of the route inputs in ``table``."""
    version = table.manifest.get("summary_version", SUMMARY_VERSION)
    if not isinstance(version, int):
        raise RecordError(f"The manifest's summary_version is {version!r}, not a number. Label again.")
    return version


def fit(
    train: OutcomeTable,
    tune: OutcomeTable,
    candidate: Candidate,
    *,
    tolerance: float = 0.0,
    seed: int = 0,
    threads: int = 2,
    escalation: bool = False,
    provenance: Mapping[str, Any] | None = None,
) -> FitResult:
    """Fit ``candidate`` on ``train``, calibrate on ``tune``, export and check the export.

    The graph must equal the predictor as fitted on all of ``tune`` and on `edge_rows`.

    threads: fits side by side. escalation: fit the second look of cascades too. The result depends on the
    tables and ``seed`` alone.
    Raises `RecordError` when the tables are of different backbones or share images, `ExportError`.
    """
    check_tables(train, tune, candidate.groups)
    spec = build_spec(train, candidate.groups)
    examples, held = Examples.of(train, spec, tolerance), Examples.of(tune, spec, tolerance)
    log.info("fitting %s on %s", candidate.name, counted(train))
    fitted = candidate.fit(examples, seed=seed, threads=threads)
    if not isinstance(fitted, Exportable):
        raise ExportError(
            f"Candidate {candidate.name!r} serves comparison only and makes no bundle: choose another."
        )
    log.info("exporting to ONNX, and checking the graph on tune and on edge values")
    novelty = _fit_novelty(examples)
    onnx = export(fitted.logits, novelty, spec.width)
    worst = max(
        check_parity(onnx, _as_fitted(fitted.logits, novelty, rows), rows)
        for rows in (held.features, edge_rows(held.features, onnx))
    )

    # From here on the graph itself, not the library: what is calibrated is what will be served.
    log.info("calibrating on %s", counted(tune))
    raw = OnnxPredictor(onnx, n_features=spec.width, n_scales=len(tune.scales)).predict(held.features)
    maps = fit_calibration(raw, held.sufficient, held.scores, held.groups, seed)
    limit = None if novelty is None else threshold(raw.novelty[_first_of_each_image(tune)])
    first = calibrated(maps, raw)
    fallback = np.zeros(len(tune), np.bool_) if limit is None else raw.novelty > limit
    second = None
    if escalation:
        log.info("fitting the second look: its model, then threshold and prices on tune")
        unseen = calibrated(maps, held_out(fitted, candidate.name))
        second = fit_escalation(examples, unseen, held, first, fallback, seed=seed, threads=threads)
    log.info("setting the prices on tune")
    bundle = Bundle(
        onnx=onnx,
        ladder=Ladder(train.scales),
        features=spec,
        calibration=maps,
        prices=fit_prices(first, tune.visual_tokens, tune.scores, fallback),
        backbone=str(train.manifest.get("backbone", "")),
        backbone_fingerprint=train.backbone_fingerprint,
        novelty_threshold=limit,
        candidate=candidate.name,
        provenance={
            "seed": seed,
            "tolerance": tolerance,
            "n_train": len(train),
            "n_train_images": len(train.image_ids),
            "n_tune": len(tune),
            "n_tune_images": len(tune.image_ids),
            "novelty_quantile": QUANTILE,
            "worst_parity": worst,
            **_requests(tune),
            **fitted.notes,
            **({} if second is None else {"escalation": second.notes}),
            **(provenance or {}),
        },
        escalation=None if second is None else second.escalation,
    )
    trees = fitted.notes.get("trees")
    per_scale = [None if trees is None else int(trees[column]) for column in fitted.logits.score]
    return FitResult(bundle, _report(tune, raw, first, per_scale), worst)


def counted(table: OutcomeTable) -> str:
    """Questions and images of ``table``, for people."""
    return f"{len(table):,} questions about {len(table.image_ids):,} images"


def _requests(tune: OutcomeTable) -> dict[str, Any]:
    """How the requests of ``tune`` were distributed; of imported ones nothing is known that serving sees."""
    if tune.manifest.get("route_inputs") == "none":
        return {"route_inputs": "none"}
    return {RECORDED: to_record(tune, Ladder(tune.scales))}


def _as_fitted(logits: Logits, novelty: Novelty | None, features: Float32) -> Predictions:
    """What the graph must give for ``features`` [n, F]."""
    found = predictions(logits, features)
    return found if novelty is None else replace(found, novelty=novelty(features))


def _fit_novelty(examples: Examples) -> Novelty | None:
    """Over one row per image; None when the features hold nothing of the image."""
    columns = examples.spec.columns(IMAGE_GROUPS)
    if not len(columns):
        return None
    return fit_novelty(examples.features[_first_of_each_image(examples.table)], columns)


def _first_of_each_image(table: OutcomeTable) -> NDArray[np.int64]:
    _, rows = np.unique(table.image_index, return_index=True)
    return rows.astype(np.int64)


def check_tables(train: OutcomeTable, tune: OutcomeTable, groups: Sequence[str] = tuple(NEEDS)) -> None:
    """Raises `RecordError` unless both tables hold what ``groups`` read, of one backbone, of other images."""
    for split, table in (("router-train", train), ("tune", tune)):
        if table.manifest.get("route_inputs") == "none" and not set(groups) <= set(FROM_TEXT):
            raise RecordError(
                f"{split} was imported and has no route inputs, but the questions' text: take the candidate "
                "question_text, or label with `m3-train label`."
            )
        if "fine" in groups:
            finer(table)
    for key in IDENTITY:
        ours, theirs = train.manifest.get(key), tune.manifest.get(key)
        if ours != theirs:
            raise RecordError(
                f"router-train has {key} {ours!r}, tune has {theirs!r}: label both with the same backbone."
            )
    common = sorted(set(train.image_ids) & set(tune.image_ids))
    if common:
        raise RecordError(
            f"router-train and tune share {len(common)} images, {common[0]!r} first: calibration "
            "needs images that were not fitted on. Split by image."
        )


def _report(
    tune: OutcomeTable, raw: Predictions, calibrated: Predictions, trees: Sequence[int | None]
) -> tuple[ScaleReport, ...]:
    rows = []
    for s, scale in enumerate(tune.scales):
        y: Float32 = tune.scores[:, s].astype(np.float32)
        rows.append(
            ScaleReport(
                scale=scale,
                mean_score=float(y.mean()),
                chance_log_loss=log_loss(y, np.full(len(y), y.mean())),
                raw_log_loss=log_loss(y, raw.score[:, s]),
                log_loss=log_loss(y, calibrated.score[:, s]),
                trees=trees[s],
            )
        )
    return tuple(rows)
