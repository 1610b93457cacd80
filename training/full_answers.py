"""How likely the full scale's answer is at every scale: what certificates of agreement read of long answers.

Where a scale gave the very same tokens it has said so already; for the others the model is asked once more.
Not covered: models that only generate (`Rates`), and tables without the full scale, which lack that answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from m3_backbone.scales import Ladder
from m3_backbone.types import Generation, GenerationRequest


@runtime_checkable
class Rates(Protocol):
    """A model that says how likely a given answer is, as `m3_backbone.model.M3Model` does."""

    def answer_logprobs(
        self, requests: Sequence[GenerationRequest], answers: Sequence[Sequence[int]]
    ) -> list[tuple[float, ...]]: ...


def full_logprobs(
    backbone: object,
    ladder: Ladder,
    full: int,
    requests: Sequence[GenerationRequest],
    answers: Sequence[Generation],
) -> list[float]:
    """Nats per token of the full scale's answer, for each of ``requests``; NaN where that is not known.

    requests, answers: of every question, those at the scales of ``ladder`` one after the other. full: the
    backbone's full scale.
    """
    width = len(ladder)
    if ladder.full != full or not isinstance(backbone, Rates):
        return [math.nan] * len(requests)
    wanted = [answers[place - place % width + width - 1] for place in range(len(answers))]
    differs = [
        place
        for place, (answer, last) in enumerate(zip(answers, wanted, strict=True))
        if answer.token_ids != last.token_ids and last.token_ids
    ]
    asked = backbone.answer_logprobs(
        [requests[place] for place in differs], [wanted[place].token_ids for place in differs]
    )
    found = [answer.mean_logprob for answer in answers]
    for place, logprobs in zip(differs, asked, strict=True):
        found[place] = sum(logprobs) / len(logprobs)
    return found
