"""Stacked shares: which scale is the smallest sufficient one, by family and by what the generator drew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.report.analysis import Family, Report
from training.report.difficulty import Bin, Measure
from training.report.palette import key_colours
from training.report.svg import canvas, inline
from training.report.words import clipped

FAMILIES = 24
"""Families drawn at most, the largest; the table beside the figure has all."""
MEASURES = 8
"""Measures of difficulty drawn at most, those of most questions; report.json has all."""
_NAME = 28
"""Characters of a name that are drawn at most."""


def labels(report: Report, by: str = "family") -> str:
    """Which scale is the smallest sufficient one, by family or by data set."""
    parts = report.parts(by)
    rows = [report.overall, *_largest(parts)] if len(parts) > 1 else [report.overall]
    return _stack(
        "labels" if by == "family" else "labels-datasets",
        report.evaluation.scales,
        [_short(row.name) for row in rows],
        [row.labels for row in rows],
        f"Smallest sufficient scale by {by}.",
    )


def difficulty(report: Report, measure: Measure, at: int) -> str:
    """Which scale is the smallest sufficient one, by bins of one measure. at: its place on the page."""
    return _stack(
        f"difficulty-{at}",
        report.evaluation.scales,
        [bin_name(b) for b in measure.bins],
        [b.labels for b in measure.bins],
        f"Smallest sufficient scale by {_short(measure.name)}.",
        axis=_short(measure.name),
    )


def bin_name(b: Bin) -> str:
    """What a bin holds: 8.1–12.4, or one value."""
    low, high = f"{b.low:.3g}", f"{b.high:.3g}"
    return low if low == high else f"{low}–{high}"


def _stack(
    name: str,
    scales: Sequence[int],
    rows: Sequence[str],
    shares: Sequence[Sequence[float]],
    words: str,
    axis: str = "",
) -> str:
    """One bar per row, cut into the scales and none. shares: [rows][S + 1]."""
    colours = key_colours(len(scales))
    places = np.arange(len(rows))
    with canvas(colours, (5.6, 1.25 + 0.42 * len(rows))) as (figure, axes):
        left = np.zeros(len(rows))
        names = [f"scale {s}" for s in scales] + ["none"]
        keys = [f"scale-{i}" for i in range(len(scales))] + ["none"]
        for i, (scale, key) in enumerate(zip(names, keys, strict=True)):
            share = np.array([100 * row[i] for row in shares])
            axes.barh(
                places,
                share,
                left=left,
                color=colours[key],
                edgecolor=colours["paper"],
                linewidth=1.2,
                height=0.72,
                label=scale,
            )
            left += share
        axes.set_yticks(places, list(rows))
        axes.invert_yaxis()
        axes.set(xlim=(0, 100))
        axes.set_xlabel("share of questions, %")
        if axis:
            axes.set_ylabel(axis)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        figure.legend(
            loc="outside upper center",
            ncols=3,
            handlelength=1,
            handleheight=1,
            columnspacing=1.2,
            labelspacing=0.3,
        )
        said = " ".join(
            f"{row}: "
            + ", ".join(f"{scale} {100 * share:.0f}%" for scale, share in zip(names, values, strict=True))
            + "."
            for row, values in zip(rows, shares, strict=True)
        )
        return inline(figure, name, f"{words} {said}", colours)


def _largest(parts: Sequence[Family]) -> list[Family]:
    """Those with the most questions, in the order of the tables."""
    kept = sorted(parts, key=lambda family: -family.n)[:FAMILIES]
    return [family for family in parts if family in kept]


def _short(name: str) -> str:
    """A name that fits beside an axis, in one line."""
    return clipped("".join(c if c.isprintable() else " " for c in name), _NAME)
