"""What routing itself costs, in FLOPs per request: the route inputs that a candidate reads, and its own work.

Reports and comparisons charge it; `m3_backbone.cost` leaves it out. One multiply-accumulate is 2 FLOPs, a
comparison is 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from data.records import OutcomeTable
from m3_backbone import embedded_path
from m3_backbone.cost import Architecture
from m3_backbone.types import COARSE, FINE
from training.evaluation.results import FLOPS, FLOPS_7B

_IMAGE = ("grid_stats", "pooled", "fine", "products")
_QUESTION = ("question", "products")


def charge_of(own: Mapping[str, float], groups: Sequence[str], table: OutcomeTable) -> dict[str, float]:
    """FLOPs per request by cost name: of the route inputs of ``groups``, and ``own``, the candidate's work.

    The width of the table's own backbone is known for m3-tiny; for others the 7B shape's is charged.
    """
    widths = {FLOPS: backbone_width(table), FLOPS_7B: Architecture.llava_7b().hidden}
    words = float(np.mean([len(tokens) for tokens in table.question_tokens]))
    return {
        cost: own.get(cost, 0.0) + route_input_flops(groups, table.scales, width, words)
        for cost, width in widths.items()
    }


def route_input_flops(groups: Sequence[str], scales: Sequence[int], width: int, words: float) -> float:
    """FLOPs of `m3_backbone.summary` for one question of ``words`` tokens about an image of one view, as far
    as ``groups`` need it. scales: the ladder, its grid the largest. width: of a projected feature.

    The image's part is charged to every question, as if an image were asked about once.
    """
    grid, tokens = scales[-1], sum(scales)
    per_feature = 0.0  # everything scales with the width of a feature
    if any(group in groups for group in _IMAGE):
        per_feature += 4 * grid  # centred, squared, summed
        per_feature += grid * (len(scales) - 1) + 2 * (tokens - grid)  # pooled to every scale, squared
        per_feature += 5 * tokens  # norms, unit vectors, their mean
        per_feature += 6 * grid  # steps to the right and down
        fine = max((s for s in scales if COARSE < s <= FINE), default=0)
        rank = max((s for s in scales if s <= 64), default=0)
        per_feature += 2 * rank**2 + 2 * 16 * (
            sum(s for s in scales if s <= COARSE) + fine
        )  # Gram matrix, projection
    if any(group in groups for group in _QUESTION):
        per_feature += words + 2 * 32  # mean, projection
    if "interaction" in groups:
        per_feature += 3 * words + 2 * words * tokens  # every word with every token of every scale
    return per_feature * width


def backbone_width(table: OutcomeTable) -> int:
    """Width of the projected features of the table's backbone."""
    if table.manifest.get("backbone") == "tiny":
        config = json.loads((embedded_path() / "config.json").read_text(encoding="utf-8"))
        return int(config["hidden_size"])
    return Architecture.llava_7b().hidden
