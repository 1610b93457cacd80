"""(a) One cold request at each scale, and what the cost model says of the scales."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from statistics import mean
from typing import Any

from training.bench import ours
from training.bench.equality import check_same
from training.bench.models import Sides, request_cost
from training.bench.timing import Clock, Turns
from training.bench.workload import Workload

NEW_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Cold:
    """turns, visual_tokens, flops: per scale, the last two as means over the pictures.

    encoding: the part of a request that is the same at every scale. ties: see `check_same`.
    """

    turns: dict[int, Turns]
    visual_tokens: dict[int, float]
    flops: dict[int, float]
    encoding: Turns
    ties: int

    def json(self) -> dict[str, Any]:
        full = max(self.turns)
        return {
            "new_tokens": NEW_TOKENS,
            "encoding": self.encoding.row(),
            "ties": self.ties,
            "scales": {
                str(scale): {
                    **turns.row(),
                    "visual_tokens": round(self.visual_tokens[scale], 2),
                    "flops": round(self.flops[scale]),
                    "cost_predicted": round(self.flops[scale] / self.flops[full], 4),
                    "cost_ours": round(turns.ours_s / self.turns[full].ours_s, 4),
                    "cost_reference": round(turns.reference_s / self.turns[full].reference_s, 4),
                }
                for scale, turns in self.turns.items()
            },
        }


def measure(sides: Sides, work: Workload, clock: Clock, repeats: int) -> Cold:
    """Every picture at every scale, ``repeats`` times; first once without a clock, to compare the answers."""
    backbone, reference = sides.backbone, sides.reference
    asks = {scale: work.cold_asks(scale, NEW_TOKENS) for scale in backbone.ladder}
    turns = {scale: Turns(clock) for scale in asks}
    encoding = Turns(clock)
    ties = 0
    with ours.without_end(backbone):
        for by_picture in asks.values():
            mine = [ours.answer(backbone, ask) for ask in by_picture]
            theirs = [reference.answer(ask) for ask in by_picture]
            ties += check_same(reference, by_picture, mine, theirs, backbone.dtype)
        for _ in range(repeats):
            for place in range(work.cold):
                for scale, by_picture in asks.items():
                    ask = by_picture[place]
                    turns[scale].take(partial(ours.answer, backbone, ask), partial(reference.answer, ask))
                encoding.take(
                    partial(backbone.encode_image, ask.picture), partial(reference.encode, ask.picture)
                )
    costs = {
        scale: [request_cost(sides, ask, ask.new_tokens) for ask in by_picture]
        for scale, by_picture in asks.items()
    }
    return Cold(
        turns=turns,
        visual_tokens={scale: mean(visual for visual, _ in of) for scale, of in costs.items()},
        flops={scale: mean(flops for _, flops in of) for scale, of in costs.items()},
        encoding=encoding,
        ties=ties,
    )
