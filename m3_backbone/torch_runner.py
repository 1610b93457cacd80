"""The torch backbone behind the asyncio queue: what a server or the labelling runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch

from m3_backbone.answers import Answer
from m3_backbone.engine import QueueEngine
from m3_backbone.model import M3Model
from m3_backbone.types import (
    Aspect,
    EncodedImage,
    EngineUnavailable,
    Generation,
    GenerationRequest,
    OutOfMemory,
    RouteInputs,
    TokenEvent,
)

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


class TorchRunner:
    """`m3_backbone.engine.Runner` over an `M3Model`; called from one worker thread.

    Torch's faults become the engine's: no memory is `OutOfMemory` for the requests concerned, a CUDA
    error that sticks to the process is `EngineUnavailable`.
    """

    def __init__(self, backbone: M3Model) -> None:
        self.backbone = backbone

    def encode(self, pixels: Any) -> EncodedImage:
        """``pixels``: an upright RGB `PIL.Image.Image`."""
        try:
            return self.backbone.encode_image(pixels)
        except RuntimeError as error:
            raise _fault(error) from error

    def summarise(self, image: EncodedImage, turns: Sequence[str]) -> RouteInputs:
        try:
            return self.backbone.summarise(image, turns)
        except RuntimeError as error:
            raise _fault(error) from error

    def hand_over(self, request: GenerationRequest) -> tuple[torch.Tensor, Answer]:
        """`M3Model.hand_over`."""
        try:
            return self.backbone.hand_over(request)
        except RuntimeError as error:
            raise _fault(error) from error

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        on_token: Callable[[int, TokenEvent], None],
        cancelled: Callable[[int], bool],
    ) -> list[Generation | Exception]:
        """When a batch does not fit in memory, requests of which nothing was shown yet are run one by one."""
        shown: dict[int, TokenEvent] = {}

        def note(index: int, event: TokenEvent) -> None:
            shown[index] = event
            on_token(index, event)

        try:
            return self.backbone.generate_each(requests, note, cancelled)
        except RuntimeError as error:
            fault = _fault(error)
            if not isinstance(fault, OutOfMemory):
                raise fault from error
            if len(requests) == 1:
                return [fault]
        results: list[Generation | Exception] = []
        for place, request in enumerate(requests):
            if place in shown:
                results.append(shown[place].generation or fault)
            else:
                results += self._alone(place, request, on_token, cancelled)
        return results

    def _alone(
        self,
        place: int,
        request: GenerationRequest,
        on_token: Callable[[int, TokenEvent], None],
        cancelled: Callable[[int], bool],
    ) -> list[Generation | Exception]:
        try:
            return self.backbone.generate_each(
                [request], lambda _, event: on_token(place, event), lambda _: cancelled(place)
            )
        except RuntimeError as error:
            return [_fault(error)]

    def revive(self) -> None:
        """Answers a word, for nobody: the device either works or raises again."""
        try:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()  # what the batch that failed held
            self.backbone.generate([GenerationRequest(("Ready?",), max_new_tokens=1)])
        except RuntimeError as error:
            raise _fault(error) from error

    def flops(self, *, views: int, visual_tokens: int, text_tokens: int, new_tokens: int) -> int:
        return self.backbone.flops(
            views=views, visual_tokens=visual_tokens, text_tokens=text_tokens, new_tokens=new_tokens
        )


def _fault(error: RuntimeError) -> Exception:
    """The engine's name for what torch raised."""
    text = str(error).lower()
    if isinstance(error, torch.OutOfMemoryError) or any(words in text for words in _OUT_OF_MEMORY):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return OutOfMemory("The request does not fit in memory. Choose a smaller scale or fewer images.")
    if "cuda error" in text:
        return EngineUnavailable("The device was lost.")
    return error


def torch_engine(backbone: M3Model, **settings: Any) -> QueueEngine:
    """An `Engine` on ``backbone``; settings are those of `QueueEngine`."""
    return QueueEngine(
        TorchRunner(backbone),
        name=backbone.name,
        fingerprint=backbone.fingerprint,
        ladder=backbone.ladder,
        aspect=cast(Aspect, backbone.config.aspect),
        context_tokens=backbone.context_tokens,
        **settings,
    )
