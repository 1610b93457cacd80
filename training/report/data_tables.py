"""The tables of a report that are about the data: zones, the oracle's choices, difficulty, shifts,
and the data weighted to be like others."""

from __future__ import annotations

import math

from training.evaluation.comparison import Estimate
from training.evaluation.oracle import ZONES
from training.report.analysis import Report
from training.report.paper import Reweighted
from training.report.shifted import LEAST, MOST_TOKENS, Routed, certified
from training.report.stacks import bin_name
from training.report.tables import Sheet, Value
from training.report.words import clipped, number, percent, percent_range, points, points_range


def zones(report: Report, by: str = "family") -> Sheet:
    """How much of the data can profit from routing at all, and where more tokens do worse."""
    rows = [
        tuple(map(Value, (clipped(f.name, 60), f"{f.n:,}", *map(percent, (*f.zones, f.non_monotone)))))
        for f in (*report.parts(by), report.overall)
    ]
    names = [zone.replace("-", " ") for zone in ZONES]
    caption = (
        "All right: every scale is sufficient. Scale matters: some are. All wrong: none is. Non-monotone: "
        "the score falls somewhere as the scale grows."
    )
    return Sheet(caption, (by, "questions", *names, "non-monotone"), tuple(rows), (len(rows) - 1,))


def choices(report: Report, by: str = "family") -> Sheet:
    """Which scale the oracle chooses, among the questions that some scale answers."""
    rows = [
        (Value(clipped(f.name, 60)), _answered(f.n, f.zones[2]), *(Value(percent(c)) for c in f.choice))
        for f in report.parts(by)
    ]
    whole = (_share(report.granularity.choice[scale]) for scale in report.evaluation.scales)
    rows.append((Value(report.overall.name), _answered(report.overall.n, report.overall.zones[2]), *whole))
    heads = (f"at {scale}" for scale in report.evaluation.scales)
    caption = "Share of the answered questions whose smallest sufficient scale is each scale."
    return Sheet(caption, (by, "answered", *heads), tuple(rows), (len(rows) - 1,))


def difficulty(report: Report) -> Sheet:
    """Every bin of every measure: accuracy of the fixed scales there."""
    rows = tuple(
        (
            Value(f"{clipped(m.name, 40)}, {bin_name(b)}"),
            Value(f"{b.n:,}"),
            *(Value(percent(a)) for a in b.accuracy),
        )
        for m in report.difficulty
        for b in m.bins
    )
    heads = (f"at {scale}" for scale in report.evaluation.scales)
    return Sheet("Accuracy by what the generator drew.", ("measure", "of it", *heads), rows)


def shifts(report: Report) -> Sheet:
    """The split reported on and every shifted one: the fixed scales."""
    rows = [
        tuple(
            map(
                Value,
                (
                    clipped(shift.split, 60),
                    f"{shift.n:,}",
                    *map(percent, (*shift.accuracy, shift.oracle_accuracy)),
                ),
            )
        )
        for shift in report.shifts
    ]
    head = ("split", "questions", *(f"at {s}" for s in report.evaluation.scales), "oracle")
    return Sheet("Accuracy by split; the first is the one reported on.", head, tuple(rows))


def shifted_policies(report: Report) -> Sheet:
    """Router and hybrid on every split, with a verdict where one is judged; without rows for no router."""
    full = report.evaluation.scales[-1]
    rows = tuple(
        (
            Value(clipped(shift.split, 60)),
            Value(name),
            _share(routed.accuracy),
            Value(number(routed.visual_tokens.value)),
            Value(points(routed.versus_full.value), points_range(routed.versus_full)),
            _share(routed.share),
            Value("–" if shift.novel is None else percent(shift.novel)),
            _verdict(routed) if shift.judged else Value("–"),
        )
        for shift in report.shifts
        for name, routed in shift.routed.items()
    )
    head = (
        *("split", "policy", "accuracy", "tokens", f"minus {full}'s", f"of {full}'s tokens", "novel"),
        f"within {-100 * LEAST:g} points at ≤ {MOST_TOKENS:.0%}",
    )
    proven = any(certified(name) in shift.routed for shift in report.shifts for name in shift.routed)
    as_certified = (
        f"As certified: at the setting certified for a net drop of {-100 * LEAST:g} points on data like "
        "training's. "
    )
    caption = (
        f"At the operating point, with fallback, all passes. {as_certified if proven else ''}Novel: sent to "
        "the full scale. The verdict on each judged split is empirical; clear: its 95% intervals by image "
        "say the same."
    )
    return Sheet(caption, head, rows)


def _verdict(routed: Routed) -> Value:
    return Value("yes" if routed.good else "no", "clear" if routed.clear else "not clear")


def profiles(report: Report) -> Sheet:
    """The fixed scales under every weighting beside the paper's."""
    scales = report.evaluation.scales
    rows: list[tuple[Value, ...]] = []
    paper: list[int] = []
    for r in report.reweighted:
        if r.weighting == report.reweighted[0].weighting:
            paper.append(len(rows))
            known = (r.profile.accuracy.get(s, math.nan) for s in scales)
            told = (*map(percent, known), "", "", percent(r.profile.oracle_accuracy))
            rows.append(tuple(map(Value, (f"{r.profile.name}, the paper", *told))))
        found = (percent(r.accuracy[s]) for s in scales)
        told = (*found, points(r.worst), f"{r.effective_n:,.0f}", percent(r.oracle_accuracy))
        rows.append(tuple(map(Value, (_weighted(r), *told))))
    heads = ("benchmark", *(f"at {s}" for s in scales), "worst residual", "counts as", "oracle")
    caption = (
        "Accuracy of the fixed scales under weights that bring them to the paper's. Worst residual: the "
        "largest distance from it, in points. Counts as: equally weighted questions that are worth as much."
    )
    return Sheet(caption, heads, tuple(rows), tuple(paper))


def reweighted(report: Report) -> Sheet:
    """The router under every weighting; without rows where there is none."""
    rows = tuple(
        (
            Value(_weighted(r)),
            _share(r.router),
            Value(number(r.router_tokens.value)),
            Value(points(r.versus_best.value), points_range(r.versus_best)),
            Value(points(r.versus_hull.value), points_range(r.versus_hull)),
            _share(r.saved),
        )
        for r in report.reweighted
        if r.router and r.router_tokens and r.versus_best and r.versus_hull and r.saved
    )
    heads = ("benchmark", "router", "its tokens", "router − best fixed", "router − hull", "tokens saved")
    caption = (
        "The router at its operating point under the same weights; the hull at equal tokens, tokens saved "
        "against the best fixed scale."
    )
    return Sheet(caption, heads, rows)


def _weighted(r: Reweighted) -> str:
    return f"{r.profile.name}, by {r.weighting}"


def _answered(n: int, hopeless: float) -> Value:
    return Value(f"{round(n * (1 - hopeless)):,}")


def _share(e: Estimate) -> Value:
    return Value(percent(e.value), percent_range(e))
