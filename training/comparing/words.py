"""A comparison's sentences, made of its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from training.comparing.comparison import Comparison
from training.comparing.standings import Standing
from training.evaluation.comparison import Estimate
from training.report.words import number, percent, percent_range, points, points_range

VERDICTS = {1: "above", 0: "within noise", -1: "below"}
NAMED = 5
"""More are counted in the headline; the table names them."""


def headline(c: Comparison) -> str:
    """One sentence for who reads only one."""
    s = c.standings
    others = [row for row in s.rows if row.over is not None]
    by_sign = {
        sign: [row.name for row in others if row.over is not None and row.over.sign == sign]
        for sign in (-1, 0, 1)
    }
    parts = [
        f"{word} {_listed(names) if len(names) <= NAMED else f'{len(names)} of {len(others)} others'}"
        for word, names in (
            ("above", by_sign[-1]),
            ("within noise of", by_sign[0]),
            ("below", by_sign[1]),
        )
        if names
    ]
    low, high = s.range
    return (
        f"{s.main}, averaged over log tokens from {number(low)} to {number(high)}, is "
        f"{'; '.join(parts) or 'compared with nothing'}."
    )


def sentences(c: Comparison) -> list[str]:
    """What follows the headline: how it was measured, whom the main candidate is below, what failed."""
    s = c.standings
    n = s.evaluation.n
    where = f"{c.tables.folds} folds of router-train" if c.tables.folds else f"split {c.tables.table.split}"
    found = [
        f"Every candidate was fitted with {_seeds(c)} on router-train, calibrated on tune (published methods "
        f"that choose by a rule of their own have its knob set there instead), and replayed over {n:,} "
        f"questions about {s.evaluation.n_images:,} images ({where}). Intervals are 95% and cover the "
        "draw of the images and of the seeds; differences are paired by image. Routing's own FLOPs are "
        "charged.",
        area(s.of(s.main)),
    ]
    if c.wanted.seeds > 1:
        found.append(
            "Settings were searched for with the first seed alone, as were the numbers of trees or epochs "
            "where nothing else is learned from folds, and the other seeds take them: what seeds differ by "
            "leaves out the search."
        )
    better = [
        f"{row.name} at {_listed([number(level) for level in above])}"
        for row in s.rows
        if (above := [level for level, b in zip(s.levels, row.band or (), strict=False) if b.low > 0])
    ]
    found.append(
        f"Under a simultaneous 95% band over the {len(s.levels)} levels of tokens, {s.main} is below "
        f"{'; '.join(better)}."
        if better
        else f"At no level of tokens is {s.main} below another, under a simultaneous 95% band over the "
        f"{len(s.levels)} levels."
    )
    if c.failures:
        found.append(
            f"Not complete: {_listed([failure.label for failure in c.failures])} could not be fitted, and "
            "means are over the seeds that could."
        )
    return found


def area(row: Standing) -> str:
    """The main candidate's area."""
    e = row.area.estimate()
    told = f"{row.name}'s mean accuracy is {percent(e.value)} ({percent_range(e)})"
    if len(row.seeds) < 2:
        return f"{told}."
    return f"{told}; its seeds differ by {100 * float(row.area.spread):.2f} points (standard deviation)."


def verdict(e: Estimate | None) -> str:
    """What a difference to the main candidate says in a word."""
    return "–" if e is None else VERDICTS[e.sign]


def difference(e: Estimate) -> tuple[str, str]:
    """(points, range)."""
    return points(e.value), points_range(e)


def _seeds(c: Comparison) -> str:
    n = c.wanted.seeds
    return "one training seed" if n == 1 else f"{n} training seeds"


def _listed(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
