"""Values of a report as plain JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from training.evaluation.comparison import Estimate


def estimate_json(e: Estimate | None) -> dict[str, Any] | None:
    """A value with its interval; None stays."""
    return None if e is None else {"value": e.value, "ci": [e.low, e.high]}


def finite(value: Any) -> Any:
    """Plain JSON types; what is not a finite number becomes null."""
    if isinstance(value, Mapping):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    if isinstance(value, float):  # numpy's float64 among them
        return float(value) if math.isfinite(value) else None
    return value
