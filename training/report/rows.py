"""A report as plain JSON: the keys that other programs rely on, and the rest of the page."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from training.evaluate import Evaluation
from training.evaluation.comparison import AtAccuracy, AtTokens
from training.evaluation.oracle import NONE_SUFFICIENT, ZONES
from training.evaluation.reachable import Reachable
from training.evaluation.resampling import interval
from training.evaluation.results import TOKENS, PolicyResult
from training.report.analysis import Family, Report
from training.report.difficulty import Measure
from training.report.hybrid import HYBRID
from training.report.paper import Reweighted
from training.report.router_rows import router_json
from training.report.shifted import ROUTER, Shift, certified
from training.report.values import estimate_json, finite
from training.report.words import headline, sentences

__all__ = [
    "as_json",
    "estimate_json",
    "finite",
    "fixed_json",
    "oracle_json",
    "policy_json",
    "reachable_json",
]

FORMAT, FORMAT_VERSION = "m3-router-report", 2
"""What `training.report.schema` describes."""


def as_json(report: Report) -> dict[str, Any]:
    """The content of report.json; numbers that do not exist are null."""
    e = report.evaluation
    found = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "n": e.n,
        "n_images": e.n_images,
        "split": report.inputs.split,
        "dataset": report.dataset,
        "headline": [headline(report), *sentences(report)],
        "best_fixed_scale": e.best_scale,
        "fixed": {str(scale): fixed_json(e, s) for s, scale in enumerate(e.scales)},
        "fixed_hull": [e.scales[s] for s in e.hull],
        # Which oracle headroom is measured against; without a replicate, the one that luck is part of.
        "oracle_kind": "plain" if e.reachable is None else "reachable",
        "oracle": oracle_json(e),
        "reachable_oracle": None if e.reachable is None else reachable_json(e.reachable),
        "operating_point": None if report.operating is None else policy_json(report.operating),
        "policies": [policy_json(p) for p in e.policies],
        "at_equal_tokens": [_at_tokens(row) for row in e.levels],
        "at_equal_accuracy": {
            cost: [_at_accuracy(r) for r in rows] for cost, rows in e.equal_accuracy.items()
        },
        "mean_gain": {
            "visual_tokens": list(e.mean_gain_range),
            "over": {name: estimate_json(gain) for name, gain in e.mean_gain.items()},
        },
        "families": [_family(report, f) for f in report.families],
        "datasets": [_family(report, f) for f in report.datasets],
        "corpus": [{"family": row.family, "policy": row.policy, **row.figures} for row in report.corpus],
        "labels": _family(report, report.overall)["labels"],
        "zones": _family(report, report.overall)["zones"],
        "granularity": {
            "zones": {name: estimate_json(share) for name, share in report.granularity.zones.items()},
            "settled": estimate_json(report.granularity.settled),
            "non_monotone": estimate_json(report.granularity.non_monotone),
            "oracle_choice": {str(s): estimate_json(share) for s, share in report.granularity.choice.items()},
        },
        "difficulty": [_measure(report, measure) for measure in report.difficulty],
        "shifts": [_shift(report, shift) for shift in report.shifts],
        "reweighted": [_reweighted(r) for r in report.reweighted],
        "confusion": None if report.confusion is None else report.confusion.tolist(),
        "reliability": {str(scale): asdict(r) for scale, r in report.reliability.items()},
        "fallbacks": report.fallbacks,
        **router_json(report),
        "provenance": dict(report.provenance),
    }
    return {key: finite(value) for key, value in found.items()}


def fixed_json(e: Evaluation, s: int) -> dict[str, Any]:
    """The fixed scale with index ``s``."""
    m = e.fixed
    return {
        "accuracy": m.accuracy[s],
        "accuracy_ci": interval(m.accuracy_draws[:, s]),
        **{cost: values[s] for cost, values in m.cost.items()},
    }


def oracle_json(e: Evaluation) -> dict[str, Any]:
    """The plain oracle under every rule."""
    counted = {"smallest": e.n, "largest": e.n, "excluded": int((e.oracle.choice >= 0).sum())}
    return {
        "accuracy": e.oracle.accuracy,
        "accuracy_ci": interval(e.oracle_smallest.accuracy_draws),
        "none_sufficient": {
            rule: {
                "n": counted[rule],
                "accuracy": e.oracle.accuracy,
                **{cost: values[rule] for cost, values in e.oracle_costs.items()},
            }
            for rule in NONE_SUFFICIENT
        },
        "none_sufficient_share": float((e.oracle.choice < 0).mean()),
    }


def reachable_json(r: Reachable) -> dict[str, Any]:
    """The reachable oracle under every rule."""
    return {
        "accuracy": estimate_json(r.accuracy[r.rule]),
        "accuracy_rule": r.rule,
        "none_sufficient": {
            rule: {"accuracy": r.accuracy[rule].value, **{cost: by[rule] for cost, by in r.cost.items()}}
            for rule in NONE_SUFFICIENT
        },
        "replicates": r.replicates,
        "best_fixed_of_all": estimate_json(r.best_fixed),
        "above_best_fixed": estimate_json(r.above_best),
        "above_best_fixed_chosen_on_one": estimate_json(r.chosen_on_one),
        "plain_of_all": estimate_json(r.plain),
        "luck": estimate_json(r.luck),
        "smaller_in_both": estimate_json(r.smaller_in_both),
    }


def policy_json(p: PolicyResult) -> dict[str, Any]:
    """A policy at one setting."""
    return {
        "name": p.name,
        "target": p.target,
        "target_is": p.target_is,
        "role": p.role,
        "chosen_on": p.chosen_on,
        "accuracy": p.accuracy.value,
        "accuracy_ci": [p.accuracy.low, p.accuracy.high],
        **{cost: estimate.value for cost, estimate in p.cost.items()},
        "visual_tokens_ci": [p.cost[TOKENS].low, p.cost[TOKENS].high],
        "accuracy_headroom_captured": p.accuracy_headroom_captured.value,
        "accuracy_headroom_captured_ci": [
            p.accuracy_headroom_captured.low,
            p.accuracy_headroom_captured.high,
        ],
        "token_headroom_captured": p.token_headroom_captured.value,
        "token_headroom_captured_ci": [p.token_headroom_captured.low, p.token_headroom_captured.high],
        "plain_oracle": {
            "accuracy_headroom_captured": estimate_json(p.plain_accuracy_headroom_captured),
            "token_headroom_captured": estimate_json(p.plain_token_headroom_captured),
        },
        "versus_best_fixed": estimate_json(p.versus_best),
        "saved": {cost: estimate_json(saved) for cost, saved in p.saved.items()},
        "gain_at_equal_tokens": {name: estimate_json(gain) for name, gain in p.gain_over.items()},
    }


def _family(report: Report, f: Family) -> dict[str, Any]:
    scales = [str(s) for s in report.evaluation.scales]
    return {
        "name": f.name,
        "n": f.n,
        "n_images": f.n_images,
        "accuracy": dict(zip(scales, f.accuracy, strict=True)),
        "oracle": {"accuracy": f.oracle_accuracy, "visual_tokens": f.oracle_tokens},
        "labels": dict(zip([*scales, "none"], f.labels, strict=True)),
        "zones": dict(zip(ZONES, f.zones, strict=True)),
        "oracle_choice": dict(zip(scales, f.choice, strict=True)),
        "non_monotone": f.non_monotone,
        "router": None
        if f.router is None or f.versus_best is None
        else {
            "accuracy": f.router,
            "visual_tokens": f.router_tokens,
            "versus_best_fixed": estimate_json(f.versus_best),
        },
    }


def _measure(report: Report, measure: Measure) -> dict[str, Any]:
    scales = [str(s) for s in report.evaluation.scales]
    return {
        "name": measure.name,
        "n": measure.n,
        "families": list(measure.families),
        "bins": [
            {
                "low": b.low,
                "high": b.high,
                "n": b.n,
                "labels": dict(zip([*scales, "none"], b.labels, strict=True)),
                "accuracy": dict(zip(scales, b.accuracy, strict=True)),
            }
            for b in measure.bins
        ],
    }


def _shift(report: Report, shift: Shift) -> dict[str, Any]:
    scales = [str(s) for s in report.evaluation.scales]
    fixed = zip(scales, shift.accuracy, shift.visual_tokens, strict=True)
    return {
        "split": shift.split,
        "n": shift.n,
        "n_images": shift.n_images,
        "fixed": {scale: {"accuracy": a, "visual_tokens": t} for scale, a, t in fixed},
        "oracle_accuracy": shift.oracle_accuracy,
        "judged": shift.judged,
        "router": _routed(shift, ROUTER),
        "hybrid": _routed(shift, HYBRID),
        "router_certified": _routed(shift, certified(ROUTER)),
        "hybrid_certified": _routed(shift, certified(HYBRID)),
    }


def _routed(shift: Shift, policy: str) -> dict[str, Any] | None:
    found = shift.routed.get(policy)
    if found is None:
        return None
    return {
        "accuracy": estimate_json(found.accuracy),
        "visual_tokens": estimate_json(found.visual_tokens),
        "versus_full": estimate_json(found.versus_full),
        "share_of_full_tokens": estimate_json(found.share),
        "novel": shift.novel,
        # Within 2 points of the largest scale at no more than half its tokens; empirical.
        "good": found.good if shift.judged else None,
        "clear": found.clear if shift.judged else None,
    }


def _reweighted(r: Reweighted) -> dict[str, Any]:
    return {
        "benchmark": r.profile.name,
        "weighting": r.weighting,
        "cells": r.cells,
        "effective_n": r.effective_n,
        "paper": {str(scale): value for scale, value in r.profile.accuracy.items()},
        "accuracy": {str(scale): value for scale, value in r.accuracy.items()},
        "residual": {str(scale): value for scale, value in r.residual.items()},
        "best_fixed_scale": r.best_scale,
        "oracle": {"accuracy": r.oracle_accuracy, "visual_tokens": r.oracle_tokens},
        "router": None
        if r.router is None
        else {
            "accuracy": estimate_json(r.router),
            "visual_tokens": estimate_json(r.router_tokens),
            "versus_best_fixed": estimate_json(r.versus_best),
            "gain_at_equal_tokens": estimate_json(r.versus_hull),
            "saved": estimate_json(r.saved),
        },
    }


def _at_tokens(row: AtTokens) -> dict[str, Any]:
    return {
        "visual_tokens": row.visual_tokens,
        "accuracy": dict(row.accuracy),
        "gain": {name: estimate_json(gain) for name, gain in row.gain.items()},
    }


def _at_accuracy(row: AtAccuracy) -> dict[str, Any]:
    return {
        "below_best_fixed": row.slack,
        "accuracy": row.accuracy,
        row.cost_name: dict(row.cost),
        "saved": {name: estimate_json(saved) for name, saved in row.saved.items()},
    }
