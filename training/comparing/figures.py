"""The pictures of a comparison, each with a text alternative made of its own numbers."""

from __future__ import annotations

from collections.abc import Sequence

from training.comparing.comparison import Comparison
from training.comparing.standings import Standing
from training.evaluation.comparison import HULL, Estimate
from training.report.palette import key_colours
from training.report.svg import SIZE, canvas, inline
from training.report.words import number, points, points_range

Row = tuple[str, Estimate]


def areas(c: Comparison) -> str:
    """Everyone's area minus the main candidate's."""
    rows = [(row.name, row.over) for row in c.standings.rows if row.over is not None]
    low, high = c.standings.range
    over = f"mean accuracy over log tokens, {number(low)} to {number(high)}"
    what = f"{over},\n− that of {c.standings.main}, points"
    return forest(c, "areas", rows, what)


def ablation(c: Comparison) -> str:
    """What leaving out each group changes."""
    rows = [(f"without {row.group}", row.over) for row in c.ablation]
    return forest(c, "ablation", rows, "mean accuracy over log tokens\n− that with all, points")


def forest(c: Comparison, name: str, rows: Sequence[Row], what: str) -> str:
    """A dot and its interval per row around zero, the first row on top; coloured where zero is outside."""
    colours = key_colours(len(c.standings.evaluation.scales))
    of_sign = {1: "good", 0: "soft", -1: "bad"}
    with canvas(colours, (SIZE[0], 1.1 + 0.27 * len(rows))) as (figure, axes):
        axes.axvline(0, color=colours["router"], linewidth=1.2)
        for at, (_, e) in enumerate(rows):
            colour = colours[of_sign[e.sign]]
            axes.plot([100 * e.low, 100 * e.high], [at, at], color=colour, linewidth=2.2)
            axes.plot([100 * e.value], [at], "o", color=colour, markersize=6)
        axes.set_yticks(range(len(rows)), [label for label, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(axis="x", linewidth=0.6)
        axes.set_xlabel(what)
        told = "; ".join(f"{label} {points(e.value)} ({points_range(e)})" for label, e in rows)
        return inline(figure, name, f"{' '.join(what.split())}: {told}.", colours)


def frontiers(c: Comparison) -> str:
    """Accuracy against mean tokens: the main candidate, the best other, hull and lookup; others faint."""
    s = c.standings
    colours = key_colours(len(s.evaluation.scales))
    named = {s.main: ("router", "-", 2.4), HULL: ("fixed", (0, (1, 1.5)), 1.8)}
    rival = next((row.name for row in s.rows if row.name not in named and row.seeds), None)
    if rival is not None:
        named[rival] = ("oracle", (0, (6, 2)), 1.8)
    if any(row.name == "lookup" for row in s.rows):
        named.setdefault("lookup", ("lookup", (0, (3, 2)), 1.8))
    with canvas(colours) as (figure, axes):
        axes.grid(axis="y", linewidth=0.6)
        labelled = False
        for row in s.rows:
            if row.name in named or not row.seeds:
                continue
            axes.plot(
                s.line_tokens,
                100 * row.line,
                color=colours["line"],
                linewidth=1.2,
                label=None if labelled else "the others",
            )
            labelled = True
        for name, (colour, line, width) in named.items():
            curve = 100 * s.of(name).line
            axes.plot(
                s.line_tokens, curve, color=colours[colour], linestyle=line, linewidth=width, label=name
            )
        axes.set_xscale("log")
        ticks = sorted({s.range[0], *s.levels, s.range[1]})
        axes.set_xticks(ticks, [number(tick) for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("mean visual tokens per question, all passes (log)")
        axes.set_ylabel("accuracy, %")
        axes.legend(loc="lower right", handlelength=2.4, labelspacing=0.3, borderpad=0.2)
        told = "; ".join(_ends(s.of(name), s.range) for name in named)
        return inline(figure, "frontiers", f"Accuracy against mean visual tokens. {told}.", colours)


def learning(c: Comparison) -> str:
    """Mean accuracy over log tokens against labelled pairs, with the hull and the lookup as they are."""
    s = c.standings
    colours = key_colours(len(s.evaluation.scales))
    pairs = [row.pairs for row in c.learning]
    with canvas(colours) as (figure, axes):
        axes.grid(axis="y", linewidth=0.6)
        low = [100 * row.area.low for row in c.learning]
        high = [100 * row.area.high for row in c.learning]
        axes.fill_between(pairs, low, high, color=colours["router"], alpha=0.18, linewidth=0)
        values = [100 * row.area.value for row in c.learning]
        axes.plot(pairs, values, "o-", color=colours["router"], label=s.main)
        for name, colour, line in ((HULL, "fixed", (0, (1, 1.5))), ("lookup", "lookup", (0, (5, 2)))):
            known = [row for row in s.rows if row.name == name]
            if known:
                axes.axhline(
                    100 * float(known[0].area.value), color=colours[colour], linestyle=line, label=name
                )
        axes.set_xscale("log")
        labels = [f"{row.pairs:,}\n{row.gpu_hours:.2g} h" for row in c.learning]
        axes.set_xticks(pairs, labels)
        axes.set_xticks([], minor=True)
        axes.set_xlabel("labelled pairs of router-train, and GPU-hours to label them at 7B (log)")
        axes.set_ylabel("mean accuracy over log tokens, %")
        axes.legend(loc="lower right", labelspacing=0.3, borderpad=0.2)
        told = "; ".join(f"{row.pairs:,} pairs: {100 * row.area.value:.2f}%" for row in c.learning)
        return inline(figure, "learning", f"What labels buy. {told}.", colours)


def _ends(row: Standing, over: tuple[float, float]) -> str:
    return (
        f"{row.name}: from {100 * row.line[0]:.1f}% at {number(over[0])} to {100 * row.line[-1]:.1f}% "
        f"at {number(over[1])}"
    )
