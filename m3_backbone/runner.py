"""What an engine needs of a model: synchronous methods that know nothing of queues, deadlines or callers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from m3_backbone.types import EncodedImage, Generation, GenerationRequest, RouteInputs, TokenEvent


class Runner(Protocol):
    """The synchronous side of an engine. Every method but `flops` runs in the engine's worker thread.

    What a method raises: an `EngineError` reaches the caller as it is; `MemoryError` becomes
    `OutOfMemory`; anything else becomes an `EngineError` without the original text. One exception
    is more than that: `EngineUnavailable` (or a BaseException such as SystemExit) says that the runner
    is dead - a lost device, a sticky CUDA error - and the engine is not ready until it was started again
    (`Revives`).
    """

    def encode(self, pixels: Any) -> EncodedImage:
        """``pixels``: an upright RGB `PIL.Image.Image`."""
        ...

    def summarise(self, image: EncodedImage, turns: Sequence[str]) -> RouteInputs: ...

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        on_token: Callable[[int, TokenEvent], None],
        cancelled: Callable[[int], bool],
    ) -> list[Generation | Exception]:
        """Answer a batch of requests of any mix of scales; one result per request, in order.

        A request that cannot be answered (`PromptTooLong`, `OutOfMemory`, ...) is an exception in the
        list and never an exception of the call: its batch-mates go on.

        on_token(i, event): called once per token of request i, in order. The event of the last token
            should carry ``generation``: its caller is then answered at once and does not wait for the
            longest of the batch. The texts of the events, joined, are a prefix of ``Generation.text``;
            the engine sends what is missing (bytes held back, an end that was not streamed).
        cancelled(i): asked between steps (it is cheap, and tells the watchdog that the runner lives).
            True: stop request i; its result is what it has so far with ``finish_reason="abort"``.
        """
        ...

    def flops(self, *, views: int, visual_tokens: int, text_tokens: int, new_tokens: int) -> int:
        """FLOPs of the whole path for one request (see `m3_backbone.cost`). Called from any thread."""
        ...


@runtime_checkable
class Revives(Protocol):
    """A runner that can be started again after it died or hung."""

    def revive(self) -> None:
        """Makes ready what is left, weights kept, and proves it. Called in a new thread; what a thread that
        hung does meanwhile is of no interest to anybody. Raises whatever shows that it does not work.
        """
        ...
