"""Means of settings with their bootstrap: images are drawn with replacement, with all their questions.

The image is the unit, because questions about one picture share its fate. Every setting is measured on
the same draws, so differences between settings are paired. Each resample is one row of image counts, and
all settings' sums per image are one matrix: a bootstrap is a matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.evaluation.settings import Settings

Floats = NDArray[np.float64]
CONFIDENCE = 0.95
_CELLS = 2_000_000  # image counts held at once: 16 MB


@dataclass(frozen=True)
class Measured:
    """Means of K settings on the sample and on B resamples.

    accuracy: [K]; cost: cost name -> [K]; accuracy_draws: [B, K]; cost_draws: cost name -> [B, K].
    """

    settings: Settings
    accuracy: Floats
    cost: Mapping[str, Floats]
    accuracy_draws: Floats
    cost_draws: Mapping[str, Floats]


SUMS: type[np.floating] = np.float32
"""What sums over images are kept in: their rounding depends on the machine, float64 takes twice the time."""


def interval(draws: NDArray[np.floating], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Percentile interval of [B] draws. Order statistics, not interpolated: draws may be infinite."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


def measure(
    settings: Sequence[Settings],
    scores: Floats,
    costs: Mapping[str, Floats],
    image_index: NDArray[np.int64],
    *,
    paid_once: Mapping[str, Floats] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> list[Measured]:
    """Accuracy and every cost of every setting, all its passes together, with ``draws`` resamples by image.

    scores, costs[...]: [n, S]; image_index: [n]. paid_once: cost name -> [n, 1] or [n, S], the part of a
    pass that a request does not pay again (`training.evaluation.pricing.encoding_flops`); a cost that is not
    named is paid whole by every pass.
    """
    n = len(scores)
    if not n:
        raise ValueError("The outcome table has no samples: there is nothing to evaluate.")
    _, image_of = np.unique(image_index, return_inverse=True)
    order = np.argsort(image_of, kind="stable")
    starts = np.flatnonzero(np.diff(image_of[order], prepend=-1))
    per_image = np.bincount(image_of).astype(np.float64)

    layers = {"accuracy": scores, **costs}
    sums = np.empty((len(per_image), sum(len(s.targets) for s in settings) * len(layers)), SUMS)
    points = np.empty(sums.shape[1])
    rows, at = np.arange(n), 0
    for setting in settings:
        for layer, values in layers.items():
            extra = setting.charge.get(layer, 0.0)
            tried = None if layer == "accuracy" else setting.tried
            again = values - (paid_once or {}).get(layer, 0.0)
            for k, choice in enumerate(setting.choices):
                picked = values[rows, choice] + extra
                if tried is not None:
                    picked += np.where(tried[k], again, 0.0).sum(axis=1)
                points[at] = picked.mean()
                # Scaled by its own mean, a column of FLOPs is as exact in float32 as one of scores.
                sums[:, at] = np.add.reduceat(picked[order] / (points[at] or 1.0), starts)
                at += 1

    resampled = np.empty((draws, sums.shape[1]))
    done = 0
    for counts in image_counts(len(per_image), draws, seed):
        block = slice(done, done + len(counts))
        resampled[block] = (counts.astype(SUMS) @ sums) * np.where(points, points, 1.0)
        resampled[block] /= (counts @ per_image)[:, None]
        done += len(counts)
    return _unpack(settings, list(layers), points, resampled)


def measure_weighted(
    settings: Sequence[Settings],
    scores: Floats,
    costs: Mapping[str, Floats],
    image_index: NDArray[np.int64],
    weights: Sequence[Floats],
    *,
    paid_once: Mapping[str, Floats] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> list[list[Measured]]:
    """`measure` once per weighting, on the same draws. weights[...]: [n], at least 0 and not all 0.

    The mean over a resample whose images have no weight is NaN.
    """
    layers, once = {}, {}
    for k, w in enumerate(weights):
        each = w[:, None]
        # A question counts and scores once, however many passes it took.
        layers[f"{k} weight"] = once[f"{k} weight"] = np.broadcast_to(each, scores.shape)
        layers[f"{k} accuracy"] = once[f"{k} accuracy"] = each * scores
        layers |= {f"{k} {name}": each * cost for name, cost in costs.items()}
        once |= {f"{k} {name}": each * part for name, part in (paid_once or {}).items()}
    found = measure(settings, scores, layers, image_index, paid_once=once, draws=draws, seed=seed)

    def means(m: Measured, k: int) -> Measured:
        with np.errstate(invalid="ignore"):
            of = {name: m.cost[f"{k} {name}"] / m.cost[f"{k} weight"] for name in ("accuracy", *costs)}
            drawn = {
                name: m.cost_draws[f"{k} {name}"] / m.cost_draws[f"{k} weight"]
                for name in ("accuracy", *costs)
            }
        return Measured(m.settings, of.pop("accuracy"), of, drawn.pop("accuracy"), drawn)

    return [[means(m, k) for m in found] for k in range(len(weights))]


def image_counts(images: int, draws: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Blocks [b, m] of how often each image is drawn; all blocks together have ``draws`` rows."""
    rng = np.random.default_rng(seed)
    block = max(1, _CELLS // images)
    for start in range(0, draws, block):
        b = min(block, draws - start)
        drawn = rng.integers(images, size=(b, images), dtype=np.int64)
        drawn += np.arange(b)[:, None] * images
        yield np.bincount(drawn.ravel(), minlength=b * images).reshape(b, images)


def _unpack(
    settings: Sequence[Settings], layers: Sequence[str], points: Floats, resampled: Floats
) -> list[Measured]:
    out, at = [], 0
    for setting in settings:
        k = len(setting.targets)
        part = {layer: slice(at + i * k, at + (i + 1) * k) for i, layer in enumerate(layers)}
        at += k * len(layers)
        costs = [layer for layer in layers if layer != "accuracy"]
        out.append(
            Measured(
                setting,
                points[part["accuracy"]],
                {c: points[part[c]] for c in costs},
                resampled[:, part["accuracy"]],
                {c: resampled[:, part[c]] for c in costs},
            )
        )
    return out
