"""A deterministic engine without weights: the whole service is tested, and tried, on it.

Answers depend on image, question and scale alone. Every (image, question) has a scale from which on the
answer stays the same; below it each scale gives another one. Route inputs are computed from the real
pixels. Faults happen where a test asks for them, never by themselves.

Not covered: anything that a picture shows. The answers mean nothing.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from m3_backbone.cost import Architecture
from m3_backbone.engine import QueueEngine
from m3_backbone.images import content_hash
from m3_backbone.scales import Ladder
from m3_backbone.types import (
    EncodedImage,
    EngineUnavailable,
    Float32,
    Generation,
    GenerationRequest,
    OutOfMemory,
    PromptTooLong,
    RouteInputs,
    TokenEvent,
)

Fault = Literal["oom", "exception", "hang", "death", "nan"]
MARKERS: Mapping[str, Fault] = {f"[{fault}]": fault for fault in ("oom", "exception", "hang", "death", "nan")}
"""``FakeEngine(faults=MARKERS)``: a question that contains ``[oom]`` runs out of memory, and so on."""

LADDER = Ladder((1, 9, 36, 144, 576))

_WORDS = ("red", "blue", "seven", "42", "left", "yes", "no", "a", "circle", "table", "12.50", "Monday")
_PROMPT_TOKENS = 5  # what the template adds to the words
_VOCABULARY = 1000
_END = 2
_WIDTH = 4  # of the grid: mean red, green, blue and contrast of a patch
_QUESTION_WIDTH = 8


@dataclass(frozen=True, eq=False)
class FakeImage:
    """grid: float32 [G, G, 4], mean colours and contrast of each patch of the squeezed image."""

    ladder: Ladder
    size: tuple[int, int]
    views: int
    content_hash: str
    grid: Float32
    owner: str

    @property
    def nbytes(self) -> int:
        return self.grid.nbytes

    def n_tokens(self, scale: int) -> int:
        return self.views * self.ladder.validate(scale)

    def tokens(self, scale: int) -> Float32:
        """[n_tokens(scale), 4], row-major; every view shows the whole picture."""
        side, factor = self.ladder.side(scale), self.ladder.factor(scale)
        pooled = self.grid.reshape(side, factor, side, factor, _WIDTH).mean(axis=(1, 3))
        return np.tile(pooled.reshape(scale, _WIDTH), (self.views, 1)).astype(np.float32)


class FakeRunner:
    """`m3_backbone.runner.Runner` without a model; see `FakeEngine` for the parameters."""

    def __init__(
        self,
        *,
        ladder: Ladder = LADDER,
        fingerprint: str = "fake",
        views: int = 1,
        answer_tokens: int | None = None,
        token_delay_s: float = 0.0,
        context_tokens: int = 2048,
        faults: Mapping[str, Fault] | None = None,
    ) -> None:
        self.ladder = ladder
        self.fingerprint = fingerprint
        self.views = views
        self.answer_tokens = answer_tokens
        self.token_delay_s = token_delay_s
        self.context_tokens = context_tokens
        self.faults = dict(faults or {})
        self.released = threading.Event()  # set it to end a hang
        self.batches: list[int] = []  # sizes of the batches that were run
        self.encoded = 0
        self.cost = replace(Architecture.llava_7b(), tower_patches=ladder.full)

    def encode(self, pixels: Any) -> FakeImage:
        image: Image.Image = pixels
        digest = content_hash(image)
        self._strike(digest)
        self.encoded += 1
        side = self.ladder.grid_side
        small = image.resize((4 * side, 4 * side), Image.Resampling.BOX)
        patches = np.asarray(small, np.float32).reshape(side, 4, side, 4, 3) / 255
        contrast = patches.mean(axis=-1).std(axis=(1, 3))
        grid = np.concatenate((patches.mean(axis=(1, 3)), contrast[..., None]), axis=-1)
        return FakeImage(self.ladder, image.size, self.views, digest, grid, self.fingerprint)

    def summarise(self, image: EncodedImage, turns: Sequence[str]) -> RouteInputs:
        own = self._own(image)
        question = turns[-1]
        pooled = {scale: own.tokens(scale)[:scale] for scale in self.ladder}
        words = _numbers(question, _QUESTION_WIDTH)
        stats, stat_names = _grid_stats(own.grid, pooled)
        if "nan" in self._faults_of(question):
            stats = np.full_like(stats, np.nan)
        similarity = [pooled[scale] @ words[:_WIDTH] for scale in self.ladder]
        coarse = [pooled[scale] for scale in self.ladder if scale <= 9]
        return RouteInputs(
            ladder=self.ladder,
            image_size=own.size,
            views=own.views,
            visual_tokens=tuple(own.n_tokens(scale) for scale in self.ladder),
            text_tokens=_text_tokens(turns),
            grid_stats=_half(stats),
            grid_stat_names=stat_names,
            pooled=_half(np.concatenate([*coarse, np.zeros((0, _WIDTH))])),
            question=_half(words),
            question_tokens=np.array([_token_id(word) for word in question.split()], np.int32),
            interaction=_half(np.array([values.max() for values in similarity])),
            interaction_names=tuple(f"similarity_max_{scale}" for scale in self.ladder),
        )

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        on_token: Callable[[int, TokenEvent], None],
        cancelled: Callable[[int], bool],
    ) -> list[Generation | Exception]:
        """One token of every request in turn, as a batch is decoded."""
        self.batches.append(len(requests))
        results: dict[int, Generation | Exception] = {}
        answers: dict[int, Generation] = {}
        for index, request in enumerate(requests):
            try:
                answers[index] = self._answer(request)
            except (OutOfMemory, PromptTooLong, ValueError) as error:
                results[index] = error
        step = 0
        while len(results) < len(requests):
            time.sleep(self.token_delay_s)
            for index in [index for index in answers if index not in results]:
                answer = answers[index]
                if cancelled(index):
                    results[index] = _cut(answer, step, "abort")
                    continue
                last = step + 1 == len(answer.token_ids)
                token = answer.token_ids[step]
                text = "" if token == _END else (" " if step else "") + answer.text.split()[step]
                on_token(index, TokenEvent(text, token, answer.logprobs[step], answer if last else None))
                if last:
                    results[index] = answer
            step += 1
        return [results[index] for index in range(len(requests))]

    def flops(self, *, views: int, visual_tokens: int, text_tokens: int, new_tokens: int) -> int:
        """Those of LLaVA-1.5-7B: plausible numbers."""
        return self.cost.request_flops(views, visual_tokens, text_tokens, new_tokens)

    def _answer(self, request: GenerationRequest) -> Generation:
        """The whole answer, before it is streamed."""
        for turn in request.turns:
            self._strike(turn)
        images = [(self._own(image), scale) for image, scale in request.images]
        visual = request.visual_tokens
        prompt = visual + _text_tokens(request.turns)
        if prompt + request.max_new_tokens > self.context_tokens:
            raise PromptTooLong(
                f"The prompt has {prompt} tokens and {request.max_new_tokens} more are asked for; "
                f"the context holds {self.context_tokens}. Lower max_new_tokens or the scale."
            )
        asked = "\n".join((*request.turns, *(image.content_hash for image, _ in images)))
        if request.temperature > 0:
            asked += f"\n{request.temperature} {request.top_p} {request.seed}"
        enough = self.ladder.scales[_hash("enough " + asked) % len(self.ladder)]
        short = [scale for _, scale in images if scale < enough]
        seed = f"answer {asked} {short}"
        n = self.answer_tokens or 1 + _hash("length " + seed) % 3
        words = [_WORDS[_hash(f"{i} {seed}") % len(_WORDS)] for i in range(n)]
        confidence = 0.05 + 0.9 * (_hash("sure " + seed) % 1000) / 1000 * (0.5 if short else 1.0)
        whole = Generation(
            text=" ".join(words),
            token_ids=(*map(_token_id, words), _END),
            logprobs=tuple(float(np.log(confidence)) / (1 + i) for i in range(n + 1)),
            first_margin=confidence / 2,
            finish_reason="stop",
            prompt_tokens=prompt,
            visual_tokens=visual,
        )
        return whole if n < request.max_new_tokens else _cut(whole, request.max_new_tokens, "length")

    def _own(self, image: EncodedImage) -> FakeImage:
        if not isinstance(image, FakeImage) or image.owner != self.fingerprint:
            raise ValueError("The image was encoded by another engine; encode it with this one.")
        return image

    def _faults_of(self, text: str) -> set[Fault]:
        return {fault for marker, fault in self.faults.items() if marker in text}

    def _strike(self, text: str) -> None:
        """The fault that ``text`` asks for, if any."""
        faults = self._faults_of(text)
        if "oom" in faults:
            raise OutOfMemory("The request does not fit in memory (as asked).")
        if "exception" in faults:
            raise RuntimeError("a fault of the whole batch, as asked")
        if "death" in faults:
            raise EngineUnavailable("The device was lost (as asked).")
        if "hang" in faults:
            self.released.wait()


class FakeEngine(QueueEngine):
    """The whole engine with its queue, on a `FakeRunner`.

    views: of every image. answer_tokens: length of every answer, end token not counted; else 1 to 3.
    token_delay_s: time that each step of a batch takes.
    faults: text -> fault. A turn that contains the text (or an image whose content hash does) has it:
        ``oom`` fails the request, ``exception`` the call of the runner, ``hang`` waits for
        ``engine.fake.released``, ``death`` ends the engine, ``nan`` spoils the route inputs.
    queue: the parameters of `QueueEngine`.
    """

    def __init__(
        self,
        *,
        name: str = "fake",
        fingerprint: str = "fake",
        ladder: Ladder = LADDER,
        views: int = 1,
        answer_tokens: int | None = None,
        token_delay_s: float = 0.0,
        context_tokens: int = 2048,
        faults: Mapping[str, Fault] | None = None,
        **queue: Any,
    ) -> None:
        self.fake = FakeRunner(
            ladder=ladder,
            fingerprint=fingerprint,
            views=views,
            answer_tokens=answer_tokens,
            token_delay_s=token_delay_s,
            context_tokens=context_tokens,
            faults=faults,
        )
        super().__init__(
            self.fake,
            name=name,
            fingerprint=fingerprint,
            ladder=ladder,
            context_tokens=context_tokens,
            **queue,
        )


def _grid_stats(grid: Float32, pooled: Mapping[int, Float32]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """What each pooling step loses, as a share of the grid's energy, and how busy the grid is."""
    energy = float(np.square(grid - grid.mean(axis=(0, 1))).mean()) + 1e-12
    means = {scale: float(np.square(tokens - tokens.mean(axis=0)).mean()) for scale, tokens in pooled.items()}
    stats = {f"lost_{small}": (means[large] - means[small]) / energy for small, large in pairwise(means)}
    stats |= {
        f"norm_{scale}": float(np.linalg.norm(tokens, axis=1).mean()) for scale, tokens in pooled.items()
    }
    stats["energy"] = float(np.log(energy))
    stats["gradient_x"] = float(np.abs(np.diff(grid, axis=1)).mean()) if len(grid) > 1 else 0.0
    stats["gradient_y"] = float(np.abs(np.diff(grid, axis=0)).mean()) if len(grid) > 1 else 0.0
    return np.array(list(stats.values())), tuple(stats)


def _cut(answer: Generation, n: int, reason: Literal["length", "abort"]) -> Generation:
    """The first ``n`` tokens of ``answer``."""
    return replace(
        answer,
        text=" ".join(answer.text.split()[:n]),
        token_ids=answer.token_ids[:n],
        logprobs=answer.logprobs[:n],
        finish_reason=reason,
    )


def _text_tokens(turns: Sequence[str]) -> int:
    return _PROMPT_TOKENS + sum(len(turn.split()) for turn in turns)


def _token_id(word: str) -> int:
    return 3 + _hash(word) % (_VOCABULARY - 3)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8], "big")


def _numbers(text: str, n: int) -> NDArray[np.float64]:
    return np.random.default_rng(_hash(text)).standard_normal(n)


def _half(values: NDArray[Any]) -> Float32:
    """float32 whose values are float16's."""
    return values.astype(np.float16).astype(np.float32)
