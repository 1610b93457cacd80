"""A language model that runs elsewhere and goes on from embeddings: what `Host` and its clients agree on.

Torch-free: embeddings are handed through.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from math import exp
from typing import Any, Protocol

from m3_backbone.types import EngineUnavailable, GenerationRequest

CUT_SHORT = "The language model ended the answer before a stop id and before its last token."
"""As a vLLM elsewhere does that was started again with a smaller ``max_model_len``."""


class LanguageModelDied(EngineUnavailable):
    """The language model's process, or the way to it, is gone: it must be opened again."""


@dataclass(frozen=True, slots=True)
class Picked:
    """One new token. margin: its probability minus the runner-up's, had the most probable one been taken."""

    token: int
    logprob: float
    margin: float


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """A prompt that is ready: torch tensor [prompt length, hidden], and how to go on from it."""

    embeds: Any
    stop_ids: frozenset[int]
    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None

    @classmethod
    def of(cls, embeds: Any, stop_ids: frozenset[int], request: GenerationRequest) -> Prefix:
        seed = None if request.seed is None else request.seed % 2**63
        return cls(embeds, stop_ids, request.max_new_tokens, request.temperature, request.top_p, seed)


class Client(Protocol):
    """Used from one event loop alone, that of a `m3_backbone.host.Host`."""

    async def open(self) -> None:
        """Ready to be asked when this returns. Raises `CheckpointError` or `LanguageModelDied`."""
        ...

    async def close(self) -> None:
        """After this it may be opened again. Never raises for what is dead already."""
        ...

    @property
    def dead(self) -> bool:
        """Whether it was opened and died since."""
        ...

    def stream(self, prefix: Prefix) -> AsyncGenerator[Picked, None]:
        """Tokens as they come, up to a stop id or ``max_new_tokens``; closing the iterator cancels.

        Raises `EngineError` for this request alone, `LanguageModelDied` when all are lost.
        """
        ...


def margin(logprobs: list[float]) -> float:
    """Probability of the most probable token minus that of the runner-up, from the two logs."""
    best, *rest = sorted(logprobs, reverse=True)[:2]
    return exp(best) - (exp(rest[0]) if rest else 0.0)
