"""The tables of a report as rows of text: the page and the Markdown show the same ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from data.corpus import CORPUS
from training.evaluation.comparison import HULL, Estimate
from training.evaluation.oracle import NONE_SUFFICIENT
from training.evaluation.reachable import Reachable
from training.evaluation.resampling import interval
from training.evaluation.results import TOKENS, PolicyResult
from training.report import words
from training.report.analysis import Report
from training.report.certified import ASKED
from training.report.words import clipped, number, percent, percent_range, points, points_range

ROLES = (ASKED, "default", "thrifty", "accurate", "budget")
"""Roles that get a row of their own; the frontier is drawn."""


@dataclass(frozen=True)
class Value:
    """A cell: a value and, where there is one, its interval."""

    text: str
    range: str = ""

    def __str__(self) -> str:
        return f"{self.text} ({self.range})" if self.range else self.text


@dataclass(frozen=True)
class Sheet:
    """strong: indices of rows that are the point of the table."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    strong: tuple[int, ...] = ()


def listed(report: Report) -> list[PolicyResult]:
    """The settings with a row: router's own first, and not twice where two roles are one setting."""
    found = [p for role in ROLES for p in report.evaluation.policies if p.role == role]
    with_default = {p.name for p in found if p.role == "default"}
    # The bundle's default prices are the cheapest within 0.5 points on tune.
    return [p for p in found if not (p.name in with_default and p.role == "thrifty")]


def _sheet(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[Value]], strong: Sequence[int] = ()
) -> Sheet:
    return Sheet(caption, tuple(head), tuple(tuple(row) for row in rows), tuple(strong))


def _points(e: Estimate) -> Value:
    return Value(points(e.value), points_range(e)) if math.isfinite(e.value) else Value("–")


def _percent(e: Estimate) -> Value:
    if math.isfinite(e.value):
        low = percent(e.low) if math.isfinite(e.low) else "never"
        return Value(percent(e.value), f"{low} to {percent(e.high)}")
    return Value("never" if e.value < 0 else "–")


def policies(report: Report) -> Sheet:
    """Fixed scales, oracle and every named setting, at what they cost in all three ways."""
    e = report.evaluation
    costs = [c for c in words.COSTS if c in e.fixed.cost]
    head = ["policy", "accuracy", *(words.COSTS[c] for c in costs), "vs best fixed", "vs hull", "vs lookup"]
    rows = []
    for s, scale in enumerate(e.scales):
        low, high = interval(e.fixed.accuracy_draws[:, s])
        shown = Value(percent(e.fixed.accuracy[s]), f"{percent(low)} to {percent(high)}")
        best = " (best fixed)" if s == e.best else ""
        rows.append(
            [
                Value(f"fixed {scale}{best}"),
                shown,
                *(Value(number(e.fixed.cost[c][s])) for c in costs),
                Value(points(e.fixed.accuracy[s] - e.fixed.accuracy[e.best])),
                Value("–"),
                Value("–"),
            ]
        )
    for result in listed(report):
        shown = Value(
            percent(result.accuracy.value),
            f"{percent(result.accuracy.low)} to {percent(result.accuracy.high)}",
        )
        rows.append(
            [
                Value(words.setting(result)),
                shown,
                *(Value(number(result.cost[c].value)) for c in costs),
                _points(result.versus_best),
                _gain(result, HULL),
                _gain(result, "lookup"),
            ]
        )
    low, high = interval(e.oracle_smallest.accuracy_draws)
    for rule in NONE_SUFFICIENT:
        rows.append(
            [
                Value(f"oracle, hopeless {_RULES[rule]}"),
                Value(percent(e.oracle.accuracy), f"{percent(low)} to {percent(high)}"),
                *(Value(number(e.oracle_costs[c][rule])) for c in costs),
                Value(points(e.oracle.accuracy - e.fixed.accuracy[e.best])),
                Value("–"),
                Value("–"),
            ]
        )
    rows += _reachable_rows(e.reachable, costs)
    strong = [
        i for i, row in enumerate(rows) if report.operating and row[0].text == words.setting(report.operating)
    ]
    caption = (
        "Accuracy and mean cost per question; differences in points, against hull and lookup at equal "
        "tokens. Within 0.5 points: the cheapest setting that was so on tune. Most accurate: on tune, at no "
        "more than the best fixed scale's tokens. Hopeless: no scale is sufficient."
    )
    return _sheet(caption, head, rows, strong)


_RULES = {"smallest": "at the smallest", "largest": "at the largest", "excluded": "left out"}


def _reachable_rows(r: Reachable | None, costs: Sequence[str]) -> list[list[Value]]:
    """The reachable oracle under every rule; against the best fixed scale over all replicates."""
    if r is None:
        return []
    return [
        [
            Value(f"reachable oracle, hopeless {_RULES[rule]}"),
            Value(
                percent(r.accuracy[rule].value), "" if rule == "excluded" else percent_range(r.accuracy[rule])
            ),
            *(Value(number(r.cost[c][rule])) for c in costs),
            _points(r.above_best)
            if rule == r.rule
            else Value(points(r.accuracy[rule].value - r.best_fixed.value)),
            Value("–"),
            Value("–"),
        ]
        for rule in NONE_SUFFICIENT
    ]


def _gain(result: PolicyResult, rival: str) -> Value:
    return _points(result.gain_over[rival]) if rival in result.gain_over else Value("–")


def headrooms(report: Report) -> Sheet:
    """Headroom captured by every named setting."""
    named = [p for p in listed(report) if p.role != "budget"]
    rows = [
        [
            Value(words.setting(p)),
            _percent(p.accuracy_headroom_captured),
            _percent(p.token_headroom_captured),
            _percent(p.saved[TOKENS]),
        ]
        for p in named
    ]
    head = ["policy", "accuracy headroom", "token headroom", "tokens saved"]
    upto = "plain"
    if report.evaluation.reachable is not None:
        upto = "reachable"
        head += ["accuracy, plain oracle", "tokens, plain oracle"]
        for row, p in zip(rows, named, strict=True):
            row += [_percent(p.plain_accuracy_headroom_captured), _percent(p.plain_token_headroom_captured)]
    caption = f"Headroom captured up to the {upto} oracle (– where the measure's condition fails)."
    return _sheet(caption, head, rows)


def equal_tokens(report: Report) -> Sheet:
    """Curves read at the same mean visual tokens."""
    e = report.evaluation
    rivals = [name for name in e.curves if name != "router"]
    head = ["visual tokens", "router", *rivals, *(f"router − {name}" for name in rivals)]
    rows = [
        [
            Value(number(row.visual_tokens)),
            Value(percent(row.accuracy["router"])),
            *(Value(percent(row.accuracy[name])) for name in rivals),
            *(_points(row.gain[name]) for name in rivals),
        ]
        for row in e.levels
    ]
    if e.mean_gain:
        low, high = e.mean_gain_range
        mean = Value(f"mean over log tokens, {number(low)} to {number(high)}")
        blank = [Value("")] * (1 + len(rivals))
        rows.append([mean, *blank, *(_points(e.mean_gain[name]) for name in rivals)])
    caption = "Accuracy at equal mean visual tokens; differences in points."
    return _sheet(caption, head, rows, [len(rows) - 1] if e.mean_gain else [])


def equal_accuracy(report: Report, cost: str) -> Sheet:
    """What each curve needs for the same accuracy."""
    e = report.evaluation
    found = e.equal_accuracy[cost]
    rivals = list(found[0].saved)
    head = ["accuracy", "router", *rivals, *(f"saved vs {name}" for name in rivals)]
    rows = []
    for row in found:
        below = "best fixed" if row.slack == 0 else f"best fixed − {100 * row.slack:g}"
        needs = [row.cost[name] for name in ("router", *rivals)]
        rows.append(
            [
                Value(f"{percent(row.accuracy)} ({below})"),
                *(Value(number(c) if math.isfinite(c) else "never") for c in needs),
                *(_percent(row.saved[name]) for name in rivals),
            ]
        )
    caption = (
        f"Mean {words.COSTS[cost]} that each curve needs for the same accuracy, and what the router saves; "
        "never: no setting reaches it."
    )
    return _sheet(caption, head, rows)


def families(report: Report, by: str = "family") -> Sheet:
    """Every family (or ``by`` data set): fixed scales, the router at its operating point, the oracle."""
    e = report.evaluation
    routed = report.operating is not None
    head = [by, "questions", *(f"at {s}" for s in e.scales)]
    head += ["router", "its tokens", "router − best fixed"] if routed else []
    head += ["oracle", "its tokens"]
    rows = []
    for f in (*report.parts(by), report.overall):
        row = [Value(clipped(f.name, 60)), Value(f"{f.n:,}"), *(Value(percent(a)) for a in f.accuracy)]
        if routed and f.router is not None and f.router_tokens is not None and f.versus_best is not None:
            row += [Value(percent(f.router)), Value(number(f.router_tokens)), _points(f.versus_best)]
        rows.append([*row, Value(percent(f.oracle_accuracy)), Value(number(f.oracle_tokens))])
    caption = f"Accuracy by {by}; router at its operating point." if routed else f"Accuracy by {by}."
    return _sheet(caption, head, rows, [len(rows) - 1])


def corpus(report: Report) -> Sheet:
    """The data set's official figures over the whole corpus; only where there are some."""
    names = list(report.corpus[0].figures)
    shares = CORPUS[str(report.inputs.table.metrics[0])].shares
    rows = [
        [
            Value(" ".join(part for part in (clipped(row.family, 60), row.policy) if part)),
            *(Value(percent(row.figures[n]) if shares else number(row.figures[n])) for n in names),
        ]
        for row in report.corpus
    ]
    heads = [name.replace("_", " ") for name in names]
    return _sheet("Figures of the official evaluator over the whole corpus.", ["policy", *heads], rows)


def calibration(report: Report) -> Sheet:
    """ECE and Brier score of P(sufficient), per scale."""
    rows = [
        [Value(str(scale)), Value(percent(r.base_rate)), Value(f"{r.ece:.3f}"), Value(f"{r.brier:.3f}")]
        for scale, r in report.reliability.items()
    ]
    tolerance = report.inputs.tolerance
    within = f" Sufficient as it was fitted: within {tolerance:g} of the best score." if tolerance else ""
    caption = f"Predicted probability that a scale is sufficient.{within}"
    return _sheet(caption, ["scale", "share", "ECE", "Brier"], rows)
