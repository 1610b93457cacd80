"""Monotone maps from what a predictor says to what happened, one per scale; plain numbers, applied in numpy.

Fitted by `training.calibrate` on ``tune``. Two kinds:

- ``platt``: p -> sigmoid(a logit(p) + b), a >= 0 (Platt 1999);
- ``isotonic``: piecewise linear through knots that ascend (Zadrozny and Elkan 2002).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from router.errors import BundleCorrupt

Float32 = NDArray[np.float32]
PerColumn: TypeAlias = float | NDArray[np.float64]

EPSILON = 1e-6
"""Probabilities are kept this far from 0 and 1 before their logit is taken."""


@dataclass(frozen=True, slots=True)
class Platt:
    """p -> sigmoid(slope logit(p) + offset)."""

    slope: float
    offset: float
    kind: Literal["platt"] = "platt"

    def __post_init__(self) -> None:
        if not (np.isfinite(self.slope) and np.isfinite(self.offset) and self.slope >= 0):
            raise ValueError(f"Platt map with slope {self.slope} and offset {self.offset} is not monotone.")

    def __call__(self, p: NDArray[np.floating]) -> Float32:
        return _platt(p, self.slope, self.offset)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "slope": self.slope, "offset": self.offset}


@dataclass(frozen=True, slots=True)
class Isotonic:
    """Piecewise linear through (x, y); constant outside."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    kind: Literal["isotonic"] = "isotonic"

    def __post_init__(self) -> None:
        if not self.x or len(self.x) != len(self.y):
            raise ValueError(f"Isotonic map with {len(self.x)} x for {len(self.y)} y.")
        values = np.asarray([self.x, self.y], dtype=np.float64)
        if not np.isfinite(values).all() or (np.diff(values[0]) <= 0).any() or (np.diff(values[1]) < 0).any():
            raise ValueError("Isotonic map whose knots do not ascend.")

    def __call__(self, p: NDArray[np.floating]) -> Float32:
        y: Float32 = np.interp(p, self.x, self.y).astype(np.float32)
        return y

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "x": list(self.x), "y": list(self.y)}


ScaleMap: TypeAlias = Platt | Isotonic


@dataclass(frozen=True, slots=True)
class Calibration:
    """One map per scale for either head."""

    sufficient: tuple[ScaleMap, ...]
    score: tuple[ScaleMap, ...]

    @classmethod
    def identity(cls, n_scales: int) -> Calibration:
        """Maps that leave probabilities as they are, up to `EPSILON`."""
        maps = (Platt(1.0, 0.0),) * n_scales
        return cls(maps, maps)

    def to_json(self) -> dict[str, Any]:
        return {
            "sufficient": [m.to_json() for m in self.sufficient],
            "score": [m.to_json() for m in self.score],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], n_scales: int) -> Calibration:
        """The inverse of `to_json`. Raises `BundleCorrupt`."""
        try:
            heads = [tuple(scale_map(m) for m in value[head]) for head in ("sufficient", "score")]
        except (KeyError, TypeError, ValueError, OverflowError) as err:
            raise BundleCorrupt(
                f"The manifest's calibration cannot be read ({err!r}): fit the bundle again."
            ) from err
        if any(len(head) != n_scales for head in heads):
            raise BundleCorrupt(f"The calibration is not for {n_scales} scales: fit the bundle again.")
        return cls(heads[0], heads[1])


def apply(maps: Sequence[ScaleMap], p: NDArray[np.floating]) -> Float32:
    """Calibrated [n, S] from raw [n, S]. `Platt` maps alone go all at once: of one request, calls of numpy
    are all that there is to pay. Raises `ValueError` for another number of maps than columns."""
    if p.ndim != 2 or p.shape[1] != len(maps):
        raise ValueError(f"{len(maps)} maps for predictions of shape {p.shape}.")
    platt = [each for each in maps if isinstance(each, Platt)]
    if len(platt) == len(maps):
        return _platt(p, np.array([each.slope for each in platt]), np.array([each.offset for each in platt]))
    return np.stack([each(p[:, s]) for s, each in enumerate(maps)], axis=1)


def _platt(p: NDArray[np.floating], slope: PerColumn, offset: PerColumn) -> Float32:
    """slope, offset: a number, or one for each column of p."""
    clipped = np.minimum(np.maximum(p.astype(np.float64), EPSILON), 1 - EPSILON)
    logit = np.log(clipped / (1 - clipped))
    said = np.minimum(np.maximum(slope * logit + offset, -700.0), 700.0)  # where exp is still finite
    q: Float32 = (1 / (1 + np.exp(-said))).astype(np.float32)
    return q


def scale_map(value: Mapping[str, Any]) -> ScaleMap:
    """The inverse of the maps' ``to_json``; a KeyError, TypeError or ValueError for anything else."""
    if value["kind"] == "platt":
        return Platt(float(value["slope"]), float(value["offset"]))
    if value["kind"] == "isotonic":
        return Isotonic(tuple(map(float, value["x"])), tuple(map(float, value["y"])))
    raise ValueError(f"unknown kind {value['kind']!r}")
