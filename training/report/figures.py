"""The pictures of a report, each with a text alternative made of its own numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation.comparison import HULL
from training.evaluation.reachable import RULES
from training.evaluation.results import FLOPS, FLOPS_7B, TOKENS
from training.report.analysis import Report
from training.report.palette import key_colours
from training.report.svg import canvas, clear_legend, inline
from training.report.timing import MS_7B

COST_TITLES = {
    TOKENS: "visual tokens per question (log)",
    FLOPS: "FLOPs per question, whole path, this backbone (log)",
    FLOPS_7B: "FLOPs per question, whole path, priced at 7B (log)",
    MS_7B: "milliseconds per question at 7B, alone on a machine (log)",
}
_LINES = {
    "router": ("router", "-"),
    "lookup": ("lookup", (0, (5, 2))),
    "hybrid": ("hybrid", (0, (8, 2, 1, 2))),
}
FEW = 20
"""A bin with fewer questions is left out of the reliability diagram: its share is mostly chance."""
_MARKERS = "osD^vPX*"


def pareto(report: Report, cost: str) -> str:
    """Accuracy against one cost: fixed scales and their hull, lookup, router with its band, oracle."""
    e = report.evaluation
    colours = key_colours(len(e.scales))
    with canvas(colours) as (figure, axes):
        axes.grid(axis="y", linewidth=0.6)
        x, y = e.fixed.cost[cost], 100 * e.fixed.accuracy
        hull = np.array(e.hull)
        # A chord between two scales bends on a log axis: it is drawn as what mixing gives in between.
        dense = np.geomspace(x[hull[0]], x[hull[-1]], 200) if len(hull) > 1 else x[hull]
        axes.plot(
            dense,
            100 * e.curves[HULL].accuracy_at(cost, dense, draws=False),
            color=colours["fixed"],
            linestyle=(0, (1, 1.5)),
            label="fixed scales mixed (hull)",
        )
        _draw_peers(axes, report, cost, colours)
        for name, curve in e.curves.items():
            if name == HULL:
                continue
            colour, line = _LINES.get(name, ("soft", "-."))
            m = curve.measured
            axes.plot(m.cost[cost], 100 * m.accuracy, color=colours[colour], linestyle=line, label=name)
            if name == "router":
                low, high = np.quantile(m.accuracy_draws, [0.025, 0.975], axis=0)
                axes.fill_between(
                    m.cost[cost], 100 * low, 100 * high, color=colours["router"], alpha=0.18, linewidth=0
                )
        axes.plot(x, y, "o", color=colours["fixed"], markersize=6, label="fixed scale")
        rules = e.oracle_costs[cost]
        ends = [rules["smallest"], rules["largest"]]
        best = [100 * e.oracle.accuracy] * 2
        axes.plot(ends, best, color=colours["oracle"], marker="|", markersize=9, label="oracle (plain)")
        if e.reachable is not None:
            axes.plot(
                [e.reachable.cost[cost][rule] for rule in RULES],
                [100 * e.reachable.accuracy[rule].value for rule in RULES],
                color=colours["oracle"],
                linestyle=(0, (4, 2)),
                marker="|",
                markersize=9,
                label="oracle (reachable)",
            )
        if report.operating is not None:
            axes.plot(
                [report.operating.cost[cost].value],
                [100 * report.operating.accuracy.value],
                "*",
                color=colours["router"],
                markersize=15,
                markeredgecolor=colours["paper"],
                label="operating point",
            )
        _log_axis(axes, x if cost == TOKENS else np.array([*x, *ends]), cost)
        _name_scales(axes, e.scales, x, y, colours)
        axes.set_ylabel("accuracy, %")
        axes.set_xlabel(COST_TITLES[cost])
        clear_legend(axes)
        axes.legend(loc="lower right", handlelength=2.2, labelspacing=0.3, borderpad=0.2)
        return inline(figure, f"pareto-{cost}", pareto_words(report, cost), colours)


def _draw_peers(axes: Any, report: Report, cost: str, colours: dict[str, str]) -> None:
    """Other candidates: whole curves over tokens, settings over the costs that they are known at."""
    label: str | None = "other candidates"
    for peer in () if report.peers is None else report.peers.rows:
        if cost == TOKENS:
            y = 100 * np.array(peer.accuracy)
            axes.plot(peer.tokens, y, color=colours["peer"], linewidth=1.1, zorder=1.5, label=label)
        else:
            at = [(s[cost], 100 * s["accuracy"]) for s in peer.settings.values() if cost in s]
            if not at:
                continue
            axes.plot(
                *zip(*at, strict=True),
                "x",
                color=colours["peer"],
                markersize=5,
                markeredgewidth=1.1,
                zorder=1.5,
                label=label,
            )
        label = None


def pareto_words(report: Report, cost: str) -> str:
    """The text alternative of `pareto`."""
    e = report.evaluation
    points = ", ".join(
        f"scale {s}: {100 * a:.1f}% at {_si(c)}"
        for s, a, c in zip(e.scales, e.fixed.accuracy, e.fixed.cost[cost], strict=True)
    )
    words = f"Accuracy against {COST_TITLES[cost].removesuffix(' (log)')}. Fixed scales: {points}."
    for name, curve in e.curves.items():
        if name != HULL:
            m = curve.measured
            words += (
                f" {name.capitalize()}: from {100 * m.accuracy[0]:.1f}% at {_si(m.cost[cost][0])} to "
                f"{100 * m.accuracy[-1]:.1f}% at {_si(m.cost[cost][-1])}."
            )
    if report.peers is not None and cost == TOKENS:
        words += " Other candidates: " + "; ".join(
            f"{peer.name} up to {100 * max(peer.accuracy):.1f}%" for peer in report.peers.rows
        )
        words += "."
    words += f" Oracle: {100 * e.oracle.accuracy:.1f}% at {_si(e.oracle_costs[cost]['smallest'])}."
    if e.reachable is not None:
        reached = ", or ".join(
            f"{100 * e.reachable.accuracy[rule].value:.1f}% at {_si(e.reachable.cost[cost][rule])}"
            for rule in RULES
        )
        words += f" Reachable oracle: {reached} with hopeless questions at the largest scale."
    return words


def reliability(report: Report) -> str:
    """Predicted P(sufficient) against what happened, one line per scale."""
    colours = key_colours(len(report.evaluation.scales))
    with canvas(colours) as (figure, axes):
        axes.grid(linewidth=0.6)
        axes.plot([0, 1], [0, 1], color=colours["soft"], linewidth=1, linestyle=(0, (1, 1.5)))
        for i, (scale, r) in enumerate(report.reliability.items()):
            enough = np.array(r.sizes) >= FEW
            axes.plot(
                np.array(r.predicted)[enough],
                np.array(r.observed)[enough],
                color=colours[f"scale-{i}"],
                marker=_MARKERS[i % len(_MARKERS)],
                markersize=5.5,
                label=f"scale {scale}",
            )
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.set_xlabel("predicted probability that the scale is sufficient")
        axes.set_ylabel("share for which it was")
        axes.legend(loc="upper left", labelspacing=0.3, borderpad=0.2)
        words = "Reliability of the router's probabilities: " + "; ".join(
            f"scale {scale}: ECE {r.ece:.3f}, Brier score {r.brier:.3f}"
            for scale, r in report.reliability.items()
        )
        return inline(figure, "reliability", words + ".", colours)


def _name_scales(
    axes: Any, scales: Sequence[int], x: NDArray[np.float64], y: NDArray[np.float64], colours: dict[str, str]
) -> None:
    for scale, cost, accuracy in zip(scales, x, y, strict=True):
        axes.annotate(
            str(scale),
            (cost, accuracy),
            xytext=(5, -11),
            textcoords="offset points",
            color=colours["fixed"],
            fontsize=10,
        )


def _log_axis(axes: Any, x: NDArray[np.float64], cost: str) -> None:
    """A log axis whose ticks are the scales' own tokens, or round numbers where they are FLOPs."""
    low, high = float(x.min()), float(x.max())
    axes.set_xscale("log")
    wide = max(high / low, 2.0) ** 0.06  # a ladder of one scale still needs an axis
    axes.set_xlim(low / wide, high * wide**1.6)
    ticks = sorted(set(x.tolist())) if cost == TOKENS else _round_ticks(low, high)
    axes.set_xticks(ticks, [_si(t) for t in ticks])
    axes.set_xticks([], minor=True)


def _round_ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers between ``low`` and ``high``, sparse enough for a phone."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    choices = (
        (1.0,),
        (1.0, 3.0),
        (1.0, 2.0, 5.0),
        (1.0, 1.5, 2.0, 3.0, 5.0, 7.0),
        tuple(map(float, range(1, 10))),
    )
    for steps in choices:
        ticks = [s * 10.0**p for p in powers for s in steps if low * 0.999 <= s * 10.0**p <= high * 1.001]
        if len(ticks) >= 3:
            return ticks[:: 1 + len(ticks) // 7]
    return [float(f"{t:.3g}") for t in np.geomspace(low, high, 3)]


def _si(value: float) -> str:
    """Three digits with a magnitude: 9.16 T."""
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if letter == 'k' else size):.3g} {letter}"
    return f"{value:.3g}"
