"""The tables of a report that are about the router itself and about others: the field's measures,
certificates, what it looks at, what routing costs, other candidates."""

from __future__ import annotations

import math

from training.evaluation.comparison import Estimate
from training.report.analysis import Report
from training.report.importance import REPEATS
from training.report.peers import Peers
from training.report.tables import Sheet, Value
from training.report.words import clipped, number, percent, percent_range, points, points_range


def field(report: Report) -> Sheet:
    """APGR, CPT and AIQ of every curve."""
    e = report.evaluation
    rows = tuple(
        (
            Value(m.name),
            _share(m.apgr),
            *(_share(cpt) for cpt in m.cpt.values()),
            _share(m.aiq),
        )
        for m in report.field
    )
    heads = ("curve", "APGR", *(f"CPT({100 * x:g}%)" for x in report.field[0].cpt), "AIQ")
    caption = (
        f"The field's measures. Weak: scale {e.scales[0]}; strong: scale {e.best_scale}, the best fixed one; "
        "calls to the strong one: the share of the way between their mean visual tokens. For CPT less is "
        "better, for the others more; the fixed hull is what no routing at all gives."
    )
    return Sheet(caption, heads, rows, tuple(at for at, row in enumerate(rows) if row[0].text == "router"))


def certificates(report: Report) -> Sheet:
    """Every certificate shown: its promise, and what came of it on this split."""
    rows = tuple(
        (
            Value(f"{c.certificate.loss} ≤ {100 * c.certificate.epsilon:g}{', hybrid' if c.cascade else ''}"),
            Value(f"{100 * c.certificate.bound:.2f}"),
            Value(points(c.loss.value).removeprefix("+"), points_range(c.loss)),
            Value(number(c.visual_tokens.value)),
            _share(c.saved),
        )
        for c in report.certified
    )
    first = report.certified[0].certificate
    broken = [row for row in report.certified if row.broken]
    caption = (
        f"Certified on {first.n_images:,} images of certify, each by itself with probability "
        f"{percent(1 - first.delta, 0)}: the mean loss against scale {report.evaluation.scales[-1]}, in "
        "points, by image. Regret counts what is lost alone, net what is gained too. Bound: what the "
        "setting would have been bounded by, had it been chosen beforehand. Beside it the same setting on "
        "this split; tokens saved are against that scale."
    )
    if broken:
        caption += (
            f" {len(broken)} lose more here than was promised, beyond chance: this split is not like certify."
        )
    return Sheet(caption, ("certified", "bound", "loss here", "visual tokens", "tokens saved"), rows)


def importances(report: Report) -> Sheet:
    """What each group of features is worth to the router."""
    rows = tuple(
        (
            Value(i.group.replace("_", " ")),
            Value(f"{i.columns:,}"),
            Value(_signed(i.brier), f"± {i.brier_sd:.4f}"),
            Value(points(i.accuracy), f"± {100 * i.accuracy_sd:.1f}"),
        )
        for i in report.importances
    )
    caption = (
        "What the router loses when a group of features is exchanged between questions: rise of the Brier "
        "score of P(sufficient), mean over scales; fall of the mean accuracy over log tokens, in points. "
        f"Means over {REPEATS} exchanges ± their standard deviation."
    )
    return Sheet(caption, ("features", "columns", "Brier score", "accuracy"), rows)


def peers(found: Peers) -> Sheet:
    """Other candidates, on the same table."""
    rows = tuple(
        (
            Value(clipped(p.name, 40)),
            Value(f"{p.seeds}"),
            _share(p.area),
            Value("–") if p.over is None else Value(points(p.over.value), points_range(p.over)),
        )
        for p in found.rows
    )
    low, high = found.range
    caption = (
        f"Other candidates, fitted and measured by m3-train compare on the same table (commit "
        f"{clipped(found.commit, 12)}): mean accuracy over log tokens from {number(low)} to {number(high)}, "
        f"and that minus {found.main}'s, in points. Intervals cover images and training seeds."
    )
    strong = tuple(at for at, p in enumerate(found.rows) if p.name == found.main)
    return Sheet(caption, ("candidate", "seeds", "accuracy", f"− {found.main}"), rows, strong)


def own_cost(report: Report) -> list[tuple[str, str]]:
    """What routing costs, as facts: FLOPs, their share of a request, and time."""
    own, e = report.own_cost, report.evaluation
    if own is None:
        return []
    shares = {
        cost: flops / e.fixed.cost[cost][0] for cost, flops in own.flops.items() if cost in e.fixed.cost
    }
    return [
        (
            "FLOPs on this backbone",
            f"{number(own.flops['flops'])} per question ({_small(shares.get('flops', math.nan))} of a "
            f"request at scale {e.scales[0]}), of which {number(own.predictor_flops)} are the predictor's; "
            "charged in every figure here",
        ),
        (
            "FLOPs at 7B",
            f"{number(own.flops['flops_7b'])} per question "
            f"({_small(shares.get('flops_7b', math.nan))} of a request at scale {e.scales[0]}); charged",
        ),
        (
            "time of a decision",
            f"median {own.ms:.2f} ms, 99th percentile {own.ms_high:.2f} ms, the router alone on route "
            "inputs that are there, one request at a time on one thread of the machine that made this "
            f"report, as busy as it was ({own.machine}); not charged",
        ),
    ]


def _small(share: float) -> str:
    return "under 0.01%" if share < 1e-4 else percent(share, 2)


def _share(e: Estimate) -> Value:
    if math.isinf(e.value):
        return Value("never")
    if not math.isfinite(e.value):
        return Value("–")
    if math.isinf(e.high):
        return Value(percent(e.value), f"{percent(e.low)} to never")
    return Value(percent(e.value), percent_range(e))


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−") if abs(value) >= 5e-5 else "0.0000"
