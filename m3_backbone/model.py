"""M3Model: encode an image once, answer at any scale. The synchronous backbone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor

from m3_backbone.answers import Answer
from m3_backbone.batch import run
from m3_backbone.checkpoint import Checkpoint
from m3_backbone.compiling import compile_vision, require_compiler
from m3_backbone.cost import Architecture
from m3_backbone.decoder import Decoder
from m3_backbone.encoded import TorchEncodedImage
from m3_backbone.image_encoder import ImageEncoder
from m3_backbone.likelihood import answer_logprobs
from m3_backbone.limits import Limits
from m3_backbone.prompt import Prompt, build_prompt, conversation
from m3_backbone.rows import Member, Row
from m3_backbone.sampling import Sampler
from m3_backbone.slots import Block, Step
from m3_backbone.summary import summarise
from m3_backbone.tokenizer import Tokenizer
from m3_backbone.types import (
    EncodedImage,
    Generation,
    GenerationRequest,
    RouteInputs,
    TokenEvent,
)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
OnToken = Callable[[int, TokenEvent], None]


class M3Model:
    """A frozen M3 model. Made by `load_backbone`; not thread-safe: one thread at a time.

    model: the torch modules (tower, projector, language model). ladder, name, fingerprint: as served; what
    is pooled or prompted in another way than the checkpoint was trained for has another fingerprint.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        tokenizer: Tokenizer,
        template: str,
        *,
        reducer: str = "average",
        kv_budget_bytes: int | None = None,
        prompt_limit: int | None = None,
        compiled: bool = False,
    ) -> None:
        """Parameters as in `m3_backbone.loading.load_backbone`; raises ValueError for one out of range."""
        self.checkpoint = checkpoint
        self.config = checkpoint.config
        self.name = checkpoint.name
        self.fingerprint = _fingerprint(checkpoint, reducer, template)
        self.ladder = checkpoint.config.ladder
        self.tokenizer = tokenizer
        self.model = checkpoint.modules
        self.model.drop_unused_layers()
        self._encoder = ImageEncoder(
            self.model, self.config, checkpoint.conditioning, owner=self.fingerprint, reducer=reducer
        )
        self.decoder = Decoder(self.model.language_model, compiled=compiled)
        if compiled:
            require_compiler(self.device)
            compile_vision(self.model)
        self.conversation = template
        self.template = conversation(template)
        self.stop_ids = checkpoint.stop_ids | {tokenizer.eos_id}
        self._content = _content_ids(tokenizer)
        self.limits = Limits.of(
            self.config.raw,
            self.config.context_tokens,
            self.decoder.kv_bytes(1),
            prompt_tokens=prompt_limit,
            kv_budget_bytes=kv_budget_bytes,
        )

    @property
    def context_tokens(self) -> int:
        return self.limits.context_tokens

    @property
    def device(self) -> torch.device:
        return self.decoder.device

    @property
    def dtype(self) -> torch.dtype:
        return self.decoder.dtype

    # Images

    def encode_image(self, image: Image.Image) -> TorchEncodedImage:
        """Tower and projector, once. ``image``: any mode; alpha is dropped, EXIF orientation ignored."""
        return self.encode_images([image])[0]

    def encode_images(self, images: Sequence[Image.Image]) -> list[TorchEncodedImage]:
        """Like `encode_image`, with all views of all images in one batch."""
        return self._encoder.encode(images)

    # Prompts

    def prompt(self, turns: Sequence[str], images: int) -> Prompt:
        """Ids of the prompt's text around ``images`` slots."""
        return build_prompt(self.tokenizer, self.template, turns, images)

    def _checked(self, request: GenerationRequest) -> tuple[Prompt, list[TorchEncodedImage]]:
        images = [self._own(image) for image, _ in request.images]
        visual = sum(image.n_tokens(scale) for image, (_, scale) in zip(images, request.images, strict=True))
        prompt = self.prompt(request.turns, len(images))
        self.limits.check(text=prompt.text_tokens, visual=visual, new=request.max_new_tokens)
        return prompt, images

    def _own(self, image: EncodedImage) -> TorchEncodedImage:
        if not isinstance(image, TorchEncodedImage) or image.owner != self.fingerprint:
            raise ValueError("The encoded image was made by another model: encode it with this one.")
        return image

    # Answers

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        """Answers in order, for any mix of scales and lengths; equal to single runs.

        Raises the first fault: `PromptTooLong`, `ScaleError`, ValueError for a foreign image.
        """
        results = self.generate_each(requests)
        for result in results:
            if isinstance(result, Exception):
                raise result
        return cast(list[Generation], results)

    def generate_each(
        self,
        requests: Sequence[GenerationRequest],
        on_token: OnToken | None = None,
        cancelled: Callable[[int], bool] = lambda index: False,
    ) -> list[Generation | Exception]:
        """One result per request, in order; a fault of one does not touch the others.

        on_token(i, event): every token of request i as it comes; the last event has the generation.
        cancelled(i): asked at every step; True ends request i with ``finish_reason="abort"``.
        """
        results: list[Generation | Exception | None] = [None] * len(requests)
        answers: dict[int, Answer] = {}
        rows: dict[tuple[object, ...], Row] = {}
        with torch.inference_mode():
            for index, request in enumerate(requests):
                try:
                    prompt, images = self._checked(request)
                except ValueError as error:
                    results[index] = error
                    continue
                answers[index] = Answer(self.tokenizer, self.stop_ids, request, prompt.text_tokens)
                scales = [scale for _, scale in request.images]
                key = (prompt.chunks[:-1], *map(id, images), *scales)
                if key not in rows:
                    head = prompt.chunks[0] if images else ()
                    rows[key] = Row(self._embed(prompt.chunks[:-1], images, scales), head=head)
                rows[key].members.append(
                    Member(index, torch.tensor(prompt.chunks[-1]), request.max_new_tokens, _sampler(request))
                )

            def picked(index: int, token: int, logprob: float, margin: float) -> bool:
                answer = answers[index]
                text = answer.add(token, logprob, margin, stream=on_token is not None)
                if on_token is not None:
                    done = answer.generation() if answer.finished else None
                    on_token(index, TokenEvent(text, token, logprob, done))
                return not answer.finished

            if rows:
                run(
                    self.decoder,
                    list(rows.values()),
                    picked,
                    cancelled,
                    kv_budget_bytes=self.limits.kv_budget_bytes,
                )
        for index, answer in answers.items():
            results[index] = answer.generation()
        return cast(list[Generation | Exception], results)

    def answer_many(
        self,
        images: Sequence[TorchEncodedImage],
        scales: Sequence[int],
        questions: Sequence[Sequence[str]],
        max_new_tokens: int,
    ) -> list[list[list[Generation]]]:
        """Labelling: every question of every image at every scale, ``[image][question][scale]``.

        questions: those of each image. The prefix of an (image, scale) is computed once.
        """
        requests = [
            GenerationRequest((question,), ((image, scale),), max_new_tokens)
            for image, asked in zip(images, questions, strict=True)
            for question in asked
            for scale in scales
        ]
        results = iter(self.generate(requests))
        return [[[next(results) for _ in scales] for _ in asked] for asked in questions]

    @torch.inference_mode()
    def prefill_logits(self, request: GenerationRequest) -> Tensor:
        """float32 [prompt length, vocabulary]: logits at every position of the prompt."""
        hidden, _ = self.hand_over(request)
        n = hidden.shape[0]
        positions = torch.arange(n, device=self.device)
        states = self.decoder.forward([Step(Block(self.decoder, 1, n), hidden, positions, n, mask=None)])
        return self.decoder.logits(states)

    @torch.inference_mode()
    def hand_over(self, request: GenerationRequest) -> tuple[Tensor, Answer]:
        """Embeddings of the whole prompt, [prompt length, hidden], and its answer, in which there is nothing
        yet: for a language model that runs elsewhere (`m3_backbone.vllm`). Raises as `generate` does."""
        prompt, images = self._checked(request)
        prefix = self._embed(prompt.chunks[:-1], images, [scale for _, scale in request.images])
        last = self.decoder.embed(torch.tensor(prompt.chunks[-1], device=self.device))
        answer = Answer(self.tokenizer, self.stop_ids, request, prompt.text_tokens)
        return torch.cat((prefix, last)), answer

    def answer_logprobs(
        self, requests: Sequence[GenerationRequest], answers: Sequence[Sequence[int]]
    ) -> list[tuple[float, ...]]:
        """Log-probabilities (nats) of the tokens of ``answers``, one for each request, had they been given.

        answers: ids, as in `Generation.token_ids`, of whose own answers they are its ``logprobs`` to
        rounding. Raises as `generate` does, and ValueError for an answer without a token.
        """
        prompts = (self.hand_over(request)[0] for request in requests)
        return answer_logprobs(self.decoder, prompts, answers)

    def _embed(
        self, chunks: Sequence[Sequence[int]], images: Sequence[TorchEncodedImage], scales: Sequence[int]
    ) -> Tensor:
        """Text and visual tokens in turn: [prefix, hidden]; every chunk is followed by its image."""
        parts = []
        for chunk, image, scale in zip(chunks, images, scales, strict=True):
            parts += [self.decoder.embed(torch.tensor(chunk, device=self.device)), image.tokens(scale)]
        if not parts:
            return self.decoder.embed(torch.zeros(0, dtype=torch.int64, device=self.device))
        return torch.cat(parts)

    # For the router

    def summarise(self, image: EncodedImage, question: str | Sequence[str]) -> RouteInputs:
        """Route inputs of an image and a question (the text, or the turns, of which the last one counts)."""
        turns = (question,) if isinstance(question, str) else tuple(question)
        ids = self.tokenizer.encode(turns[-1])
        index = torch.tensor(ids, dtype=torch.int64)
        return summarise(
            self._own(image),
            self.decoder.embed(index.to(self.device)),
            self._content[index].to(self.device),
            question_tokens=ids,
            question_text=turns[-1],
            text_tokens=self.prompt(turns, 1).text_tokens,
        )

    def flops(self, *, views: int, visual_tokens: int, text_tokens: int, new_tokens: int) -> int:
        """FLOPs of the whole path for one request, tower included (see `m3_backbone.cost`)."""
        return self.architecture.request_flops(views, visual_tokens, text_tokens, new_tokens)

    @cached_property
    def architecture(self) -> Architecture:
        """Sizes of this model, for what a request costs."""
        llama: Any = self.model.language_model.config  # with the defaults that config.json leaves out
        sizes = llama.to_dict() | {key: value for key, value in self.config.raw.items() if value is not None}
        return Architecture.from_config(sizes, self.model.tower.config.to_dict())


def _sampler(request: GenerationRequest) -> Sampler | None:
    return Sampler(request.temperature, request.top_p, request.seed) if request.temperature > 0 else None


def _content_ids(tokenizer: Tokenizer) -> Tensor:
    """bool [pieces]: those with a letter or a digit."""
    return torch.tensor([re.search(r"\w", piece) is not None for piece in tokenizer.pieces()])


def _fingerprint(checkpoint: Checkpoint, reducer: str, template: str) -> str:
    """The checkpoint's own for what it was trained for; else answers differ, and so must fingerprints."""
    ladder = "" if checkpoint.config.names_scales else " ".join(map(str, checkpoint.config.ladder))
    prompted = "" if template == checkpoint.config.template else f"\0{template}"
    if reducer == "average" and not ladder and not prompted:
        return checkpoint.fingerprint
    return hashlib.sha256(f"{checkpoint.fingerprint}\0{reducer}\0{ladder}{prompted}".encode()).hexdigest()
