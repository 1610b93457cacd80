"""A deterministic engine without weights: the whole service is tested, and tried, on it.

Answers depend on image, question and scale alone. Every (image, question) has a scale from which on the
answer stays the same; below it each scale gives another one. Route inputs are computed from the real
pixels. Faults happen where a test asks for them, never by themselves.

Not covered: anything that a picture shows. The answers mean nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from m3_backbone.cost import Architecture
from m3_backbone.engine import QueueEngine
from m3_backbone.fake_image import FakeImage
from m3_backbone.fake_words import stable_hash, text_tokens, token_id
from m3_backbone.images import content_hash
from m3_backbone.scales import Ladder
from m3_backbone.types import (
    EncodedImage,
    EngineUnavailable,
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
_END = 2


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
        mortal: bool = False,
    ) -> None:
        self.ladder = ladder
        self.fingerprint = fingerprint
        self.views = views
        self.answer_tokens = answer_tokens
        self.token_delay_s = token_delay_s
        self.context_tokens = context_tokens
        self.faults = dict(faults or {})
        self.mortal = mortal
        self.released = threading.Event()  # set it to end a hang
        self.batches: list[int] = []  # sizes of the batches that were run
        self.encoded = 0
        self.cost = replace(Architecture.llava_7b(), tower_patches=ladder.full)

    def encode(self, pixels: Any) -> FakeImage:
        digest = content_hash(pixels)
        self._strike(digest)
        self.encoded += 1
        return FakeImage.of(pixels, digest, ladder=self.ladder, views=self.views, owner=self.fingerprint)

    def summarise(self, image: EncodedImage, turns: Sequence[str]) -> RouteInputs:
        inputs = self._own(image).summarise(turns)
        if "nan" in self._faults_of(turns[-1]):
            return replace(inputs, grid_stats=np.full_like(inputs.grid_stats, np.nan))
        return inputs

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
            if self.token_delay_s:
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

    def revive(self) -> None:
        if self.mortal:
            raise EngineUnavailable("The device was lost for good (as asked).")

    def flops(self, *, views: int, visual_tokens: int, text_tokens: int, new_tokens: int) -> int:
        """Those of LLaVA-1.5-7B: plausible numbers."""
        return self.cost.request_flops(views, visual_tokens, text_tokens, new_tokens)

    def _answer(self, request: GenerationRequest) -> Generation:
        """The whole answer, before it is streamed."""
        for turn in request.turns:
            self._strike(turn)
        images = [(self._own(image), scale) for image, scale in request.images]
        visual = request.visual_tokens
        prompt = visual + text_tokens(request.turns)
        if prompt + request.max_new_tokens > self.context_tokens:
            raise PromptTooLong(
                f"The prompt has {prompt} tokens and {request.max_new_tokens} more are asked for; "
                f"the context holds {self.context_tokens}. Lower max_new_tokens or the scale."
            )
        asked = "\n".join((*request.turns, *(image.content_hash for image, _ in images)))
        if request.temperature > 0:
            asked += f"\n{request.temperature} {request.top_p} {request.seed}"
        enough = self.ladder.scales[stable_hash("enough " + asked) % len(self.ladder)]
        short = [scale for _, scale in images if scale < enough]
        seed = f"answer {asked} {short}"
        n = self.answer_tokens or 1 + stable_hash("length " + seed) % 3
        words = [_WORDS[stable_hash(f"{i} {seed}") % len(_WORDS)] for i in range(n)]
        confidence = 0.05 + 0.9 * (stable_hash("sure " + seed) % 1000) / 1000 * (0.5 if short else 1.0)
        whole = Generation(
            text=" ".join(words),
            token_ids=(*map(token_id, words), _END),
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
        ``engine.fake.released``, ``death`` ends the runner, ``nan`` spoils the route inputs.
    mortal: a runner that died does not come back however often it is started again, until
        ``engine.fake.mortal`` is False.
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
        mortal: bool = False,
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
            mortal=mortal,
        )
        super().__init__(
            self.fake,
            name=name,
            fingerprint=fingerprint,
            ladder=ladder,
            aspect="pad" if views == 1 else "anyres",
            context_tokens=context_tokens,
            **queue,
        )


def _cut(answer: Generation, n: int, reason: Literal["length", "abort"]) -> Generation:
    """The first ``n`` tokens of ``answer``."""
    return replace(
        answer,
        text=" ".join(answer.text.split()[:n]),
        token_ids=answer.token_ids[:n],
        logprobs=answer.logprobs[:n],
        finish_reason=reason,
    )
