"""Watched answers -> a bundle calibrated anew, without a label.

The service answers a share of its requests again at all scales (`router.service.watching`) and logs whether
each scale's answer says what the full scale's says (`router.decisions`). On these rows the predictions are
mapped to frequencies of agreement, by one more Platt map per scale after those that the bundle has, and the
prices are set anew. What is predicted from then on is agreement with the full scale, not correctness: where
the full scale is wrong and a smaller one right, that counts as disagreement.

Not covered: fitting the predictor itself anew, which needs the route inputs; novelty, whose threshold stays;
certificates and the second look of cascades, which are of the predictions as they were and are dropped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router import policy
from router.bundle import Bundle
from router.calibration import Calibration, Isotonic, Platt, ScaleMap
from router.certificates import NOTHING
from router.decisions import VERSIONS, WATCHED
from router.predictor import Predictions
from router.prices import Prices
from training.calibrate import fit_platt, fit_prices
from training.candidates.base import log_loss

FEWEST = 200
"""Rows; two numbers per scale are fitted, and a price is chosen."""

FOLDS = 5

# Of a piece of an isotonic map: after a Platt map pieces are no longer straight, but short ones are.
_RISE = 0.02

_COLUMNS = [
    "router",
    "fell_back",
    "scale",
    "scales",
    "visual_tokens",
    "probabilities",
    "expected_scores",
    "agrees",
]


class WatchedError(ValueError):
    """Watched rows that cannot be used; the message says what is missing."""


@dataclass(frozen=True)
class WatchedRows:
    """n requests and S scales. sufficient, score: calibrated predictions float32 [n, S], as they were decided
    by. agrees: [n, S]. visual_tokens: [n, S]. fallback: [n] those that the router did not decide. chosen: [n]
    indices of the scales that answered.
    """

    sufficient: NDArray[np.float32]
    score: NDArray[np.float32]
    agrees: NDArray[np.bool_]
    visual_tokens: NDArray[np.int64]
    fallback: NDArray[np.bool_]
    chosen: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.agrees)


@dataclass(frozen=True)
class Traded:
    """What a price buys on the watched rows: mean visual tokens, and the share of answers that agree."""

    tokens: float
    agreement: float


@dataclass(frozen=True)
class Recalibrated:
    """A bundle not yet written, and what to tell about it.

    before, after: log loss of agreement per scale, in nats; after is of rows left out of the fit, by turns.
    was, now: at the scales that answered (of a cascade the last pass alone), and at the new default price;
    in sample.
    """

    bundle: Bundle
    rows: int
    before: tuple[float, ...]
    after: tuple[float, ...]
    was: Traded
    now: Traded


def read_watched(folder: Path, bundle: Bundle) -> WatchedRows:
    """The rows in ``folder`` that ``bundle`` decided and that were answered at every scale.

    Raises `WatchedError` when there are fewer than `FEWEST`, or when they are of another schema.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(folder.glob(f"{WATCHED}-*.parquet"))
    if not files:
        raise WatchedError(
            f"{folder} holds no file {WATCHED}-*.parquet: serve with M3_WATCH_SHARE and M3_DECISION_LOG set."
        )
    rows: list[dict[str, Any]] = []
    for path in files:
        try:
            version = (pq.read_schema(path).metadata or {}).get(b"schema_version", b"").decode()
            if version != str(VERSIONS[WATCHED]):
                raise WatchedError(
                    f"{path} has schema version {version!r}, this program reads {VERSIONS[WATCHED]}."
                )
            rows += pq.read_table(path, columns=_COLUMNS).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise WatchedError(f"{path} cannot be read ({type(error).__name__}): remove it.") from error
    scales = list(bundle.ladder)
    ours = [row for row in rows if row["router"] == bundle.version]
    kept = [
        row for row in ours if row["scales"] == scales and row["probabilities"] and None not in row["agrees"]
    ]
    if len(kept) < FEWEST:
        raise WatchedError(
            f"{folder} holds {len(rows)} watched requests, {len(ours)} of them decided by bundle "
            f"{bundle.version}, and {len(kept)} of these with predictions and an answer at every scale; "
            f"{FEWEST} are needed. Watch for longer, or raise M3_WATCH_SHARE."
        )
    return WatchedRows(
        sufficient=np.array([row["probabilities"] for row in kept], np.float32),
        score=np.array([row["expected_scores"] for row in kept], np.float32),
        agrees=np.array([row["agrees"] for row in kept], np.bool_),
        visual_tokens=np.array([row["visual_tokens"] for row in kept], np.int64),
        fallback=np.array([row["fell_back"] for row in kept], np.bool_),
        chosen=np.array([scales.index(row["scale"]) for row in kept], np.int64),
    )


def recalibrate(bundle: Bundle, rows: WatchedRows, agreement: float, seed: int = 0) -> Recalibrated:
    """``bundle`` with calibration and prices of ``rows``.

    agreement: the default price is the highest one whose answers on ``rows`` agree with the full scale's at
    least so often. seed: of the folds.
    """
    y = rows.agrees.astype(np.float64)
    heads = (rows.sufficient, rows.score)
    extra = [tuple(fit_platt(p[:, s], y[:, s]) for s in range(y.shape[1])) for p in heads]
    maps = bundle.calibration
    calibration = Calibration(
        sufficient=tuple(map(then, maps.sufficient, extra[0])), score=tuple(map(then, maps.score, extra[1]))
    )
    mapped = [
        np.stack([new(p[:, s]) for s, new in enumerate(news)], axis=1)
        for p, news in zip(heads, extra, strict=True)
    ]
    predictions = Predictions(mapped[0], mapped[1], np.zeros(len(rows), np.float32))
    table = fit_prices(predictions, rows.visual_tokens, y, rows.fallback)
    traded = [_traded(rows, _chosen(predictions, rows, price)) for price in table.prices]
    enough = [p for p, t in zip(table.prices, traded, strict=True) if t.agreement >= agreement]
    prices = Prices(enough[-1] if enough else 0.0, table.prices, table.mean_tokens)
    bundle = replace(
        bundle,
        calibration=calibration,
        prices=prices,
        certificates=NOTHING,
        escalation=None,
        provenance={
            **bundle.provenance,
            "recalibrated": {"from": bundle.version, "rows": len(rows), "agreement": agreement},
        },
    )
    return Recalibrated(
        bundle,
        rows=len(rows),
        before=tuple(log_loss(y[:, s], rows.score[:, s]) for s in range(y.shape[1])),
        after=tuple(_held_out(rows.score[:, s], y[:, s], seed) for s in range(y.shape[1])),
        was=_traded(rows, rows.chosen),
        now=_traded(rows, _chosen(predictions, rows, prices.default)),
    )


def then(old: ScaleMap, new: Platt) -> ScaleMap:
    """``new`` after ``old``, as one map: exact after a Platt map, to `_RISE` after an isotonic one."""
    if isinstance(old, Platt):
        return Platt(new.slope * old.slope, new.slope * old.offset + new.offset)
    knots, ends = np.asarray(old.x), new(np.asarray(old.y))
    pieces = [
        np.linspace(x0, x1, max(1, math.ceil(rise / _RISE)), endpoint=False)
        for x0, x1, rise in zip(knots[:-1], knots[1:], np.diff(ends), strict=True)
    ]
    x = np.unique(np.concatenate([*pieces, knots[-1:]]))
    y = np.maximum.accumulate(new(np.interp(x, old.x, old.y)).astype(np.float64))
    return Isotonic(tuple(x.tolist()), tuple(y.tolist()))


def _chosen(predictions: Predictions, rows: WatchedRows, price: float) -> NDArray[np.int64]:
    index = policy.utility(predictions.score, rows.visual_tokens.astype(np.float64), price)
    return np.where(rows.fallback, rows.agrees.shape[1] - 1, index).astype(np.int64)


def _traded(rows: WatchedRows, chosen: NDArray[np.int64]) -> Traded:
    tokens, agrees = (
        np.take_along_axis(values, chosen[:, None], axis=1).mean()
        for values in (rows.visual_tokens, rows.agrees)
    )
    return Traded(float(tokens), float(agrees))


def _held_out(p: NDArray[np.float32], y: NDArray[np.float64], seed: int) -> float:
    fold = np.random.default_rng(seed).permutation(len(p)) % FOLDS
    mapped = np.zeros(len(p))
    for k in range(FOLDS):
        mapped[fold == k] = fit_platt(p[fold != k], y[fold != k])(p[fold == k])
    return log_loss(y, mapped)
