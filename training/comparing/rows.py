"""A comparison as plain JSON: the keys that other programs rely on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from training.comparing.comparison import Comparison
from training.comparing.seeds import Averaged
from training.comparing.standings import Standing
from training.comparing.words import headline, sentences
from training.report.rows import estimate_json, finite, fixed_json, oracle_json, policy_json, reachable_json


def as_json(c: Comparison) -> dict[str, Any]:
    """The content of compare.json; numbers that do not exist are null."""
    s = c.standings
    e = s.evaluation
    found = {
        "n": e.n,
        "n_images": e.n_images,
        "split": c.tables.table.split,
        "folds": c.tables.folds,
        "dataset": c.dataset,
        "headline": [headline(c), *sentences(c)],
        "complete": c.complete,
        "main": s.main,
        "training_seeds": c.wanted.seeds,
        "levels": list(s.levels),
        "area_range": list(s.range),
        "best_fixed_scale": e.best_scale,
        "fixed": {str(scale): fixed_json(e, i) for i, scale in enumerate(e.scales)},
        "fixed_hull": [e.scales[i] for i in e.hull],
        "oracle_kind": "plain" if e.reachable is None else "reachable",
        "oracle": oracle_json(e),
        "reachable_oracle": None if e.reachable is None else reachable_json(e.reachable),
        "candidates": [_standing(c, row) for row in s.rows],
        "ablation": [
            {"without": row.group, "area": estimate_json(row.area), "over_all": estimate_json(row.over)}
            for row in c.ablation
        ],
        "learning_curve": [
            {
                "fraction": row.fraction,
                "pairs": row.pairs,
                "images": row.images,
                "gpu_hours_7b": row.gpu_hours,
                "area": estimate_json(row.area),
                "over_all": estimate_json(row.over),
            }
            for row in c.learning
        ],
        "proofs": [
            {"name": proof.name, "holds": proof.holds, "certificates": [asdict(cell) for cell in proof.cells]}
            for proof in c.proofs
        ],
        "failures": [{"candidate": f.name, "fit": f.label, "error": f.error} for f in c.failures],
        "provenance": {
            **c.provenance,
            "fitted_at": sorted({commit or "unknown" for commit in c.commits}),
            "candidates": {candidate.name: repr(candidate) for candidate in c.wanted.candidates},
        },
    }
    return {key: finite(value) for key, value in found.items()}


def _standing(c: Comparison, row: Standing) -> dict[str, Any]:
    levels = c.standings.levels
    return {
        "name": row.name,
        "seeds": list(row.seeds),
        "accuracy": [
            {"visual_tokens": level, **_averaged(row.accuracy, q)} for q, level in enumerate(levels)
        ],
        "frontier": {
            "visual_tokens": c.standings.line_tokens.tolist(),
            "accuracy": row.line.tolist(),
        },
        "area": _averaged(row.area),
        "over_main": None
        if row.over is None
        else {
            "area": estimate_json(row.over),
            "off_zero": row.over.sign != 0,
            "simultaneous": [
                {"visual_tokens": level, **(estimate_json(e) or {})}
                for level, e in zip(levels, row.band or (), strict=True)
            ],
        },
        "settings": {role: policy_json(p) for role, p in row.settings.items()},
        "charge": None if row.charge is None else dict(row.charge),
        "cpu_seconds_to_fit": row.seconds if row.seeds else None,
    }


def _averaged(a: Averaged, *index: int) -> dict[str, Any]:
    return {**(estimate_json(a.estimate(*index)) or {}), "sd_between_seeds": float(a.spread[index])}
