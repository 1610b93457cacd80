"""What flows between the backbone and its callers. Torch-free: router and service see only this.

Shapes: S = number of scales on the ladder, D = width of the summary's projection, E = width of the
question vector, T = tokens of the question.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from m3_backbone.scales import Ladder

Float32 = NDArray[np.float32]
FinishReason = Literal["stop", "length", "abort"]
Aspect = Literal["pad", "anyres", "square"]
"""How a picture becomes square views: padded to one; the whole of it squeezed into one, then parts; or its
middle cut out. The words are those of ``image_aspect_ratio`` in a checkpoint."""

COARSE, FINE = 9, 36
"""Largest scale of ``RouteInputs.pooled``, and largest that ``RouteInputs.fine`` may be of."""
SUMMARY_VERSION = 1
"""Version of the contents of `RouteInputs`; a bundle names the one that it was trained on."""


@runtime_checkable
class EncodedImage(Protocol):
    """A handle on the grids of one image, valid in the engine that made it.

    Made once, then used at every scale and for every question.
    """

    @property
    def ladder(self) -> Ladder: ...

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the upright image in pixels."""
        ...

    @property
    def views(self) -> int:
        """Number of 336 x 336 views (1 unless anyres)."""
        ...

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) of the upright RGB pixels and their size."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes that the handle keeps alive; image caches are bounded by it."""
        ...

    def n_tokens(self, scale: int) -> int:
        """Visual tokens that this image costs at ``scale`` (more than ``scale`` with anyres views)."""
        ...

    def tokens(self, scale: int) -> Any:
        """Projected visual tokens ``[n_tokens(scale), hidden]`` in the engine's own array type."""
        ...


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One prompt for the language model.

    turns: user, assistant, user, ... texts; the last one is the user's.
    images: (image, scale) pairs, one slot each in front of the first user turn; may be empty.
    """

    turns: tuple[str, ...]
    images: tuple[tuple[EncodedImage, int], ...] = ()
    max_new_tokens: int = 16
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    request_id: str = ""

    def __post_init__(self) -> None:
        if not self.turns or len(self.turns) % 2 == 0:
            raise ValueError(f"turns must alternate user, assistant, ..., user; got {len(self.turns)} texts.")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}.")

    @property
    def visual_tokens(self) -> int:
        return sum(image.n_tokens(scale) for image, scale in self.images)


@dataclass(frozen=True, slots=True)
class Generation:
    """A finished answer. ``logprobs[i]`` is the log-probability (nats) of ``token_ids[i]``.

    ``first_margin``: probability of the first token minus that of the runner-up.
    ``token_ids`` includes the end-of-sequence token when the model produced one; ``text`` does not.
    """

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    first_margin: float
    finish_reason: FinishReason
    prompt_tokens: int
    visual_tokens: int

    @property
    def mean_logprob(self) -> float:
        return sum(self.logprobs) / len(self.logprobs) if self.logprobs else 0.0

    @property
    def min_logprob(self) -> float:
        return min(self.logprobs, default=0.0)


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One streamed step. ``text`` is the text that this token adds (may be empty); the last event
    carries ``generation``."""

    text: str
    token_id: int | None = None
    logprob: float | None = None
    generation: Generation | None = None


@dataclass(frozen=True, slots=True)
class RouteInputs:
    """What describes (image, question) to the router: made by the backbone from what it already computed.

    Every array is float32 whose values are exactly representable in float16, so that what is stored in
    an outcome table (float16) equals what serving sees.

    grid_stats: [G], named by ``grid_stat_names`` - what each pooling step of the ladder loses, norms.
    pooled: [P, D] - pooled tokens of the smallest scales (1 then 9, row-major), through a fixed
        projection to D dimensions. fine: [R, D] - the same of the largest scale up to 36 above them.
    question: [E] - mean of the question's input embeddings through a fixed projection.
    question_tokens: int32 [T] - the question's token ids. question_text: what they are the ids of.
    interaction: [I], named by ``interaction_names`` - similarity of question and visual tokens per scale.
    """

    ladder: Ladder
    image_size: tuple[int, int]
    views: int
    visual_tokens: tuple[int, ...]  # n_tokens at every scale of the ladder
    text_tokens: int  # prompt tokens that are not visual
    grid_stats: Float32
    grid_stat_names: tuple[str, ...]
    pooled: Float32
    question: Float32
    question_tokens: NDArray[np.int32]
    interaction: Float32
    interaction_names: tuple[str, ...]
    question_text: str = ""
    version: int = SUMMARY_VERSION
    fine: Float32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))


@dataclass(frozen=True, slots=True)
class Capacity:
    """Limits of an engine: how many requests it batches, how many may wait, context length in tokens."""

    batch_size: int
    queue_size: int
    context_tokens: int


@dataclass(frozen=True, slots=True)
class Health:
    """``ready`` is the truth: False while loading, after an unrecovered fault, or when shutting down.

    restarts: how often the model was started again since the engine was.
    """

    ready: bool
    reason: str = ""
    queued: int = 0
    running: int = 0
    cached_images: int = 0
    restarts: int = 0
    details: dict[str, str] = field(default_factory=dict)


class CheckpointError(ValueError):
    """A checkpoint that cannot be loaded: the message names files, keys or weights, all of them at once."""


class EngineError(Exception):
    """Base of what an engine raises for one request; other requests are not affected."""


class QueueFull(EngineError):
    """The bounded queue has no place: try again later."""


class DeadlineExceeded(EngineError):
    """The request's deadline passed, in the queue or while running."""


class EngineUnavailable(EngineError):
    """The engine is not ready (loading, dead or closing)."""


class OutOfMemory(EngineError):
    """This request did not fit in memory."""


class PromptTooLong(EngineError, ValueError):
    """Prompt plus new tokens exceed the context; the message has the numbers."""


class KvBudgetExceeded(PromptTooLong):
    """Prompt plus new tokens need more KV cache than the engine may use; the message has the numbers."""


class Engine(Protocol):
    """What the service sees of a model. Fake, torch and vLLM engines pass one set of conformance tests."""

    @property
    def name(self) -> str:
        """The model's name, as served."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of weights and config: a bundle is valid for one fingerprint."""
        ...

    @property
    def ladder(self) -> Ladder: ...

    @property
    def aspect(self) -> Aspect:
        """How its pictures become square: where a grid of visual tokens lies on them."""
        ...

    async def start(self) -> None: ...

    async def close(self) -> None:
        """Finish what is running, refuse what is new."""
        ...

    async def encode(self, pixels: Any) -> EncodedImage:
        """``pixels``: an upright RGB `PIL.Image.Image` (from `m3_backbone.images.decode`)."""
        ...

    async def summarise(self, image: EncodedImage, turns: Sequence[str]) -> RouteInputs: ...

    def generate(
        self, request: GenerationRequest, *, deadline: float | None = None
    ) -> AsyncIterator[TokenEvent]:
        """Stream of tokens; ``deadline`` is a `time.monotonic` instant. Closing the iterator aborts."""
        ...

    async def abort(self, request_id: str) -> None: ...

    def health(self) -> Health: ...

    @property
    def capacity(self) -> Capacity: ...

    def flops(self, *, views: int, visual_tokens: int, text_tokens: int, new_tokens: int) -> int:
        """FLOPs of the whole path for one request, tower included (see `m3_backbone.cost`)."""
        ...
