"""What the router looks at: what it loses when one group of features is exchanged between questions.

Permutation importance (Breiman 2001; Fisher, Rudin and Dominici 2019, arXiv 1801.01489) by group: features
within a group say the same thing several times, so that one by one they would all look useless. A group's
features are exchanged all together, so that what is broken is their tie to the question and its picture, and
not what they are among themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.records import OutcomeTable
from router.features import Float32
from router.router import Router
from training.evaluation.comparison import token_levels
from training.evaluation.frontier import Floats, log_spaced_mean, path_accuracy
from training.evaluation.settings import by_expected_score, sweep

QUESTIONS = 2000
"""At most so many are looked at: every group and repeat takes a prediction for each."""
REPEATS = 3


@dataclass(frozen=True)
class Importance:
    """Of one group. columns: how many it has. brier: rise of the Brier score of P(sufficient), the mean over
    scales. accuracy: fall of the mean accuracy over log tokens. Means over `REPEATS`; sd: between them.
    """

    group: str
    columns: int
    brier: float
    brier_sd: float
    accuracy: float
    accuracy_sd: float


def importances(router: Router, table: OutcomeTable, seed: int = 0) -> tuple[Importance, ...]:
    """Of every group that the router reads, the most important first; empty where there is only one.

    Accuracy is read along the router's prices, without its fallback for novel images.
    """
    spec = router.bundle.features
    if len(spec.groups) < 2 or len(table) < 2:
        return ()
    rng = np.random.default_rng(seed)
    if len(table) > QUESTIONS:
        table = table.take(_some_images(table.image_index, QUESTIONS, rng))
    features, sufficient = spec.matrix(table), table.sufficient(_tolerance(router))
    brier, area = _measured(router, features, table, sufficient)
    found = []
    for group in spec.groups:
        columns = spec.columns((group,))
        losses = []
        for _ in range(REPEATS):
            exchanged = features.copy()
            exchanged[:, columns] = features[_exchange(len(table), rng)][:, columns]
            losses.append(_measured(router, exchanged, table, sufficient))
        of_brier, of_area = (np.array(values) for values in zip(*losses, strict=True))
        found.append(
            Importance(
                group=group,
                columns=len(columns),
                brier=float(of_brier.mean() - brier),
                brier_sd=float(of_brier.std()),
                accuracy=float(area - of_area.mean()),
                accuracy_sd=float(of_area.std()),
            )
        )
    return tuple(sorted(found, key=lambda each: -each.brier))


def _tolerance(router: Router) -> float:
    known = router.bundle.provenance.get("tolerance")
    return float(known) if isinstance(known, int | float) else 0.0


def _measured(
    router: Router, features: Float32, table: OutcomeTable, sufficient: NDArray[np.bool_]
) -> tuple[float, float]:
    """(Brier score, mean accuracy over log tokens) of the router on these features."""
    predictions = router.predict(features)
    brier = float(((predictions.sufficient - sufficient) ** 2).mean())
    path = sweep("router", by_expected_score(predictions.score, table.visual_tokens), table.visual_tokens)
    rows = np.arange(len(table))
    spent = np.array([table.visual_tokens[rows, choice].mean() for choice in path.choices])
    accuracy = np.array([table.scores[rows, choice].mean() for choice in path.choices])
    return brier, _area(spent, accuracy, table.visual_tokens.mean(axis=0))


def _area(spent: Floats, accuracy: Floats, fixed_tokens: Floats) -> float:
    levels = token_levels(fixed_tokens)
    if len(levels) < 2:
        return float(accuracy.max())
    at = np.geomspace(levels[0], levels[-1], 41)
    return float(log_spaced_mean(path_accuracy(spent, accuracy, at), at))


def _exchange(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """[n] whose features each sample gets: a random order in which nobody keeps their own."""
    order = rng.permutation(n)
    partner = np.empty(n, np.int64)
    partner[order] = np.roll(order, 1)
    return partner


def _some_images(image_index: NDArray[np.int64], most: int, rng: np.random.Generator) -> Sequence[int]:
    """Rows of images drawn at random, whole images, at most ``most`` rows in all."""
    images = rng.permutation(np.unique(image_index))
    sizes = np.bincount(image_index, minlength=int(images.max()) + 1)[images]
    kept = images[: max(1, int((np.cumsum(sizes) <= most).sum()))]
    rows: list[int] = np.flatnonzero(np.isin(image_index, kept)).tolist()
    return rows
