"""How a report writes numbers: shares, points, magnitudes."""

from __future__ import annotations

import math

from training.evaluation.comparison import Estimate

MINUS = "−"


def percent(share: float, digits: int = 1) -> str:
    """0.871 -> 87.1%; an en dash where there is no number. Halves are rounded away from zero, however they
    were summed: 0.5265 is 52.7% everywhere."""
    if not math.isfinite(share):
        return "–"
    rounded = round(100 * share + math.copysign(1e-9, share), digits) + 0.0  # + 0.0: no negative zero
    return f"{rounded:.{digits}f}%".replace("-", MINUS)


def points(difference: float) -> str:
    """0.0123 -> +1.2."""
    if not math.isfinite(difference):
        return "–"
    rounded = round(100 * difference, 1) + 0.0  # + 0.0: no negative zero
    return f"{rounded:+.1f}".replace("-", MINUS) if rounded else "0.0"


def number(value: float) -> str:
    """Three digits and a magnitude, for tokens and FLOPs alike."""
    if not math.isfinite(value):
        return "–"
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def clipped(value: str, most: int) -> str:
    """A text of the data as far as a page has room for it."""
    return value if len(value) <= most else f"{value[: most - 1]}…"


def points_range(e: Estimate) -> str:
    return f"{points(e.low)} to {points(e.high)}"


def percent_range(e: Estimate, digits: int = 1) -> str:
    return f"{percent(e.low, digits)} to {percent(e.high, digits)}"
