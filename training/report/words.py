"""A report's sentences, made of its numbers: what was saved, what was gained, and when it was nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping

from router.constraints import LOSS
from training.evaluation.comparison import HULL, Estimate
from training.evaluation.results import TOKENS, PolicyResult
from training.report.analysis import Report
from training.report.formats import (
    clipped,
    number,
    percent,
    percent_range,
    points,
    points_range,
)
from training.report.promises import certificate, in_points, loss_name
from training.report.shifted import LEAST, MOST_TOKENS

__all__ = [
    "COSTS",
    "RIVALS",
    "certificate",
    "clipped",
    "granularity",
    "headline",
    "number",
    "percent",
    "percent_range",
    "points",
    "points_range",
    "reachable",
    "sentences",
    "setting",
    "verdict",
]

RIVALS = {HULL: "fixed scales mixed at random", "lookup": "a lookup by family and question kind"}
COSTS = {
    "visual_tokens": "visual tokens",
    "flops": "FLOPs",
    "flops_7b": "FLOPs at 7B",
    "ms_7b": "ms at 7B",
}
"""Costs of a report, in their order -> what tables call them."""


def headline(report: Report) -> str:
    """One sentence for who reads only one: tokens saved, accuracy given up, accuracy gained."""
    e, operating = report.evaluation, report.operating
    best = f"scale {e.best_scale}"
    if operating is None:
        return (
            f"{best.capitalize()} is the best fixed one: {percent(e.fixed.accuracy[e.best])} with "
            f"{number(e.fixed.cost[TOKENS][e.best])} visual tokens; the oracle reaches "
            f"{percent(e.oracle.accuracy)} with {number(e.oracle_costs[TOKENS]['smallest'])}."
        )
    saved, lost, gain = operating.saved[TOKENS], operating.versus_best, operating.gain_over[HULL]
    others = [
        f"{percent(abs(operating.saved[cost].value))} {_less(operating.saved[cost].value, *words)}"
        for cost, words in (("flops_7b", ("fewer", "FLOPs")), ("ms_7b", ("less", "time")))
        if cost in operating.saved
    ]
    at_7b = f", {' and '.join(others)} at 7B," if others else ""
    return (
        f"{percent(abs(saved.value))} {_less(saved.value, 'fewer', 'visual tokens')} than {best} "
        f"({_unsigned(saved)}){at_7b} at {points(lost.value)} points of accuracy ({points_range(lost)}), "
        f"{points(gain.value)} points ({points_range(gain)}) against fixed scales mixed to equal tokens."
    )


def _less(saved: float, less: str, what: str) -> str:
    return f"{less if saved >= 0 else 'more'} {what}"


def _unsigned(saved: Estimate) -> str:
    """The interval of what is said to be fewer, or more."""
    return percent_range(saved if saved.value >= 0 else Estimate(-saved.value, -saved.high, -saved.low))


def sentences(report: Report) -> list[str]:
    """What follows the headline: the operating point, the verdict, the gains, the headroom."""
    e, operating = report.evaluation, report.operating
    if operating is None:
        others = "fixed scales, lookup and oracle" if "lookup" in e.curves else "fixed scales and oracle"
        alone = f"There is no router in this report: {others} alone."
        return [alone] if e.reachable is None else [alone, reachable(report)]
    found = [
        f"The router, {_at_setting(report, operating)}, reaches {percent(operating.accuracy.value)} with "
        f"{number(operating.cost[TOKENS].value)} visual tokens per question; scale {e.best_scale}, the best "
        f"fixed one, reaches {percent(e.fixed.accuracy[e.best])} with {number(e.fixed.cost[TOKENS][e.best])}."
        " Intervals in brackets are 95%, by image.",
        verdict(report),
        certificate(report),
        f"At equal tokens, at this setting, it is {_gains(operating.gain_over)}.",
    ]
    if e.mean_gain:
        low, high = e.mean_gain_range
        found.append(
            f"Over its whole frontier, averaged over log tokens from {number(low)} to {number(high)}, "
            f"it is {_gains(e.mean_gain)}."
        )
    return [*found, *hybrid(report), headroom(report)]


def _at_setting(report: Report, operating: PolicyResult) -> str:
    asked = report.inputs.asked
    if operating.role != "accuracy_drop" or asked is None:
        return _SETTINGS[operating.role]
    loss = loss_name(asked.loss or LOSS)
    return f"at the setting certified for a {loss} of {in_points(asked.accuracy_drop or 0)}"


def hybrid(report: Report) -> list[str]:
    """What a second look adds; nothing where the router has none."""
    found = report.evaluation.result("hybrid", "default")
    gain = None if found is None else found.gain_over.get("router")
    if found is None or gain is None:
        return []
    return [
        f"With a second look at its answers (the hybrid, every pass charged) it reaches "
        f"{percent(found.accuracy.value)} with {number(found.cost[TOKENS].value)} visual tokens, "
        f"{points(gain.value)} points ({points_range(gain)}) against the router alone at equal tokens."
    ]


_SETTINGS = {
    "default": "at its default price (the highest that cost at most 0.5 points on tune, or else the highest "
    "within 0.1 points of the most accurate)",
    "thrifty": "at the cheapest setting within 0.5 points of the best fixed scale",
    "accurate": "at its most accurate affordable setting",
}


def _gains(gains: Mapping[str, Estimate]) -> str:
    def told(name: str, gain: Estimate) -> str:
        if not gain.sign:
            return f"within noise of {RIVALS[name]} ({points(gain.value)} points, {points_range(gain)})"
        side = "below" if gain.value < 0 else "above"
        return f"{abs(100 * gain.value):.1f} points {side} {RIVALS[name]} ({points_range(gain)})"

    return " and ".join(told(name, gain) for name, gain in gains.items() if name in RIVALS)


_VERDICTS = {
    (1, 1): "The router is better than {}, at this setting and over its whole frontier.",
    (1, 0): "At this setting the router is better than {}; over its whole frontier the gain is within noise.",
    (1, -1): "At this setting the router is better than {}, but over its whole frontier it is worse.",
    (0, 1): "Over its whole frontier the router is better than {}; at this setting the gain is within noise.",
    (0, 0): "The router is no better than {}: the differences are within the noise of this split.",
    (0, -1): "The router is no better than {} at this setting, and worse over its whole frontier.",
    (-1, 1): "Over its whole frontier the router is better than {}, but at this setting it is worse.",
    (-1, 0): "The router is worse than {} at this setting, and no better over its whole frontier.",
    (-1, -1): "The router is worse than {}, at this setting and over its whole frontier.",
}
"""By the signs of the gain at the operating point and of the mean gain over the frontier."""


def verdict(report: Report) -> str:
    """Whether the router is worth having, in plain words: a gain counts when its interval is off zero."""
    if report.operating is None:
        return ""
    by_signs: dict[tuple[int, int], list[str]] = {}
    for name, gain in report.operating.gain_over.items():
        if name not in RIVALS:
            continue
        whole = report.evaluation.mean_gain.get(name, gain)
        by_signs.setdefault((gain.sign, whole.sign), []).append(RIVALS[name])
    parts = [_VERDICTS[signs].format(" and ".join(names)) for signs, names in by_signs.items()]
    if "lookup" not in report.operating.gain_over:
        parts.append("A lookup could not be fitted: the folder has no router-train table.")
    return " ".join(parts)


def headroom(report: Report) -> str:
    """Token headroom at the operating point, accuracy headroom at the most accurate affordable setting."""
    assert report.operating is not None
    tokens = report.operating.token_headroom_captured
    accurate = report.evaluation.result("router", "accurate") or report.operating
    accuracy = accurate.accuracy_headroom_captured
    parts = []
    if math.isfinite(tokens.value):
        parts.append(f"It captures {percent(tokens.value)} of the token headroom ({percent_range(tokens)})")
    else:
        parts.append("Its token headroom does not count: it is over 0.5 points below the best fixed scale")
    if math.isfinite(accuracy.value):
        parts.append(
            f"at its most accurate setting {percent(accuracy.value)} of the accuracy headroom "
            f"({percent_range(accuracy)})"
        )
    else:
        parts.append("there is no accuracy headroom that counts")
    if report.evaluation.reachable is not None:
        return f"{'; '.join(parts)}. The denominator is the reachable oracle. {reachable(report)}"
    return (
        f"{'; '.join(parts)}. The denominator is the plain oracle, lucky guesses included: a reachable "
        "oracle needs another replicate of the outcomes, which this report was not given."
    )


def reachable(report: Report) -> str:
    """What is left of the oracle without luck; empty without further replicates."""
    r = report.evaluation.reachable
    if r is None:
        return ""
    above, luck = r.above_best, r.luck
    best = f"scale {report.evaluation.best_scale}, the best fixed one"
    alone = ""
    if r.replicates > 2:
        alone = (
            f", its scale chosen on {r.replicates - 1} replicates and scored on the one left out; chosen on "
            f"a single one, which takes more luck for need, it is {_where(r.chosen_on_one)} it by "
            f"{points(r.chosen_on_one.value)} points ({points_range(r.chosen_on_one)})"
        )
    return (
        f"Over {r.replicates} replicates the plain oracle reaches {percent(r.plain.value)} and the "
        f"reachable one {percent(r.accuracy[r.rule].value)}: {points(luck.value)} points "
        f"({points_range(luck)}) are luck. The reachable oracle is {_where(above)} {best}, by "
        f"{points(above.value)} points ({points_range(above)}){alone}. "
        f"{percent(r.smaller_in_both.value)} of the questions ({percent_range(r.smaller_in_both)}) are "
        f"missed at scale {report.evaluation.scales[-1]} and answered at a smaller one in both of two "
        "replicates."
    )


def _where(e: Estimate) -> str:
    return {1: "above", 0: "within noise of", -1: "below"}[e.sign]


def judged(report: Report) -> str:
    """On how many of the judged shifted splits each policy is good enough; empty without one."""
    full, told = report.evaluation.scales[-1], []
    splits = [shift for shift in report.shifts if shift.judged]
    for name in dict.fromkeys(name for shift in splits for name in shift.routed):
        found = [shift.routed[name] for shift in splits if name in shift.routed]
        good = [routed for routed in found if routed.good]
        clear = sum(routed.clear for routed in good)
        told.append(f"the {name} on {len(good)} of {len(found)} ({clear} with its whole 95% intervals)")
    if not told:
        return ""
    return (
        f"Within {-100 * LEAST:g} points of scale {full} at no more than {MOST_TOKENS:.0%} of its tokens on "
        f"the judged splits: {', '.join(told)}. This is empirical: no certificate speaks of these splits."
    )


def granularity(report: Report) -> str:
    """How many questions no router changes, and for how many more tokens do worse."""
    settled, falls = report.granularity.settled, report.granularity.non_monotone
    return (
        f"{percent(settled.value)} of the questions ({percent_range(settled)}) are all right or all wrong: "
        f"no choice of scale changes their score. For {percent(falls.value)} ({percent_range(falls)}) the "
        "score falls somewhere as the scale grows."
    )


def setting(result: PolicyResult) -> str:
    """What a policy at a setting is called in tables."""
    role = {
        "default": f"{result.name}, default",
        "budget": f"token budget {result.target:g}",
        "thrifty": f"{result.name}, within 0.5 points",
        "accurate": f"{result.name}, most accurate",
        "accuracy_drop": f"router, drop of {100 * result.target:g} points",
    }[result.role]
    return role if result.chosen_on in ("tune", "bundle") else f"{role} (chosen on {result.chosen_on})"
