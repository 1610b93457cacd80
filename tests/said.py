"""An answer as an outcome table has it, for what reads a `Generation`'s confidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from data.records import OutcomeTable


@dataclass(frozen=True)
class Said:
    """What is read of a `Generation`: an answer as a table has it."""

    mean_logprob: float
    min_logprob: float
    first_margin: float
    token_ids: tuple[int, ...]

    @classmethod
    def at(cls, table: OutcomeTable, i: int, scale: int) -> Any:
        s = table.scales.index(scale)
        parts = (table.mean_logprob[i, s], table.min_logprob[i, s], table.first_margin[i, s])
        mean, least, margin = map(float, parts)
        return cls(mean, least, margin, (5,) * int(table.answer_tokens[i, s]))
