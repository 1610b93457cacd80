"""The model of the second look: what every scale would score, given the answer at one of them.

`Escalation` is a bundle's second graph at rest, with what was set for it on ``tune``; `SecondLook` runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from router.calibration import ScaleMap, apply, scale_map
from router.cascade import Costs, Index, Mask, Revise, evidence, evidence_width, worth_it
from router.certificates import Setting
from router.errors import BundleCorrupt
from router.json_values import number, numbers
from router.predictor import Float32, OnnxPredictor, Predictions
from router.prices import Prices

ESCALATION = "escalation.onnx"
"""Name of the graph in a bundle."""


@dataclass(frozen=True)
class Escalation:
    """The model of the second look at rest, and what was set for it on ``tune``.

    onnx: bytes of the graph from `evidence` to scores [n, S]. calibration: a map per scale. A policy pays
    ``price`` in the second look, `first_price` in the first, and goes on for gains above ``threshold``.
    prices: what prices spend in all passes together. path: the settings that cascades are certified along,
    the most careful one first.
    """

    onnx: bytes
    calibration: tuple[ScaleMap, ...]
    optimism: float
    threshold: float
    prices: Prices
    path: tuple[Setting, ...] = ()

    def __post_init__(self) -> None:
        if not (1 <= self.optimism < np.inf and 0 <= self.threshold < np.inf):
            raise ValueError(f"optimism {self.optimism} must be at least 1, threshold {self.threshold} 0.")
        if any(setting.threshold is None for setting in self.path):
            raise ValueError("Every setting on the path of a cascade has a threshold.")

    def first_price(self, price: float) -> float:
        """What a token must buy before there is an answer: more, for a cheap answer can be thought over."""
        return self.optimism * price

    def to_json(self) -> dict[str, Any]:
        """All but the graph, for the manifest."""
        return {
            "optimism": self.optimism,
            "threshold": self.threshold,
            "prices": self.prices.to_json(),
            "calibration": [each.to_json() for each in self.calibration],
            "path": [[setting.price, setting.threshold] for setting in self.path],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], onnx: bytes, n_scales: int) -> Escalation:
        """The inverse of `to_json`. Raises `BundleCorrupt`."""
        try:
            maps = tuple(scale_map(each) for each in value["calibration"])
            if len(maps) != n_scales:
                raise ValueError(f"{len(maps)} maps for {n_scales} scales")
            return cls(
                onnx=onnx,
                calibration=maps,
                optimism=number(value["optimism"]),
                threshold=number(value["threshold"]),
                prices=Prices.from_json(value["prices"]),
                path=tuple(Setting(*numbers(pair)) for pair in value.get("path", ())),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as err:
            raise BundleCorrupt(f"The escalation cannot be read ({err!r}): fit the bundle again.") from err


class SecondLook:
    """The model of an `Escalation`, ready to run. Immutable, and safe to share between threads.

    Raises `BundleCorrupt` when the graph is not one for ``n_scales`` scales.
    """

    def __init__(self, escalation: Escalation, n_scales: int, *, threads: int = 1) -> None:
        self.escalation = escalation
        self._predictor = OnnxPredictor(
            escalation.onnx,
            n_features=evidence_width(n_scales),
            n_scales=n_scales,
            threads=threads,
            file=ESCALATION,
        )

    def expected(self, predictions: Predictions, tried: Index, confidence: Float32) -> Float32:
        """Expected score [n, S] at every scale, given the answers at ``tried`` [n]. Raises `PredictorError`.

        predictions: the router's, calibrated. confidence: [n, C].
        """
        raw = self._predictor.predict(evidence(predictions, tried, confidence))
        return apply(self.escalation.calibration, raw.score)

    def revise(
        self,
        predictions: Predictions,
        costs: Costs,
        price: float,
        *,
        threshold: float | None = None,
        allowed: Mask | None = None,
    ) -> Revise:
        """`worth_it` for these n requests. threshold: left out, the one that was set on ``tune``."""
        return worth_it(
            lambda tried, confidence: self.expected(predictions, tried, confidence),
            costs,
            price,
            self.escalation.threshold if threshold is None else threshold,
            allowed,
        )
