"""Sums per image of a report: with them two reports are compared by a paired bootstrap, without tables."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.report.analysis import Report

ROUTER, ORACLE = "router", "oracle"


def per_image(report: Report) -> dict[str, Any]:
    """Lists with one entry per image, in one order: its name, its questions, and by policy the sums of score
    and visual tokens over them. Policies: every fixed scale, the oracle (hopeless questions at the smallest
    scale), and the router at its operating point where there is one."""
    table = report.inputs.table
    used, image = np.unique(table.image_index, return_inverse=True)
    rows = np.arange(len(table))
    choices = {f"fixed {scale}": np.full(len(table), s) for s, scale in enumerate(table.scales)}
    choices[ORACLE] = report.evaluation.oracle.resolved("smallest", len(table.scales))
    if report.operating is not None:
        choices[ROUTER] = report.operating.choice

    def sums(values: NDArray[np.generic]) -> list[float | int]:
        summed = np.bincount(image, values.astype(np.float64), minlength=len(used))
        return _short(summed.astype(np.float64))

    return {
        "image": [_name(table.image_ids[i]) for i in used.tolist()],
        "questions": sums(np.ones(len(table))),
        "score": {name: sums(table.scores[rows, choice]) for name, choice in choices.items()},
        "visual_tokens": {name: sums(table.visual_tokens[rows, choice]) for name, choice in choices.items()},
    }


def _name(image_id: str) -> str:
    """A short name: ids can be long, and may say more about a machine than a report should."""
    return hashlib.sha256(image_id.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _short(values: NDArray[np.float64]) -> list[float | int]:
    return [int(v) if v.is_integer() else round(v, 9) for v in values.tolist()]
