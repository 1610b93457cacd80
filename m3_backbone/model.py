"""M3Model: encode an image once, answer at any scale. The synchronous backbone."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import cast

import torch
from PIL import Image
from torch import Tensor

from m3_backbone.answers import Answer
from m3_backbone.batch import Member, Row, run
from m3_backbone.checkpoint import Checkpoint, load_checkpoint
from m3_backbone.config import read_json
from m3_backbone.cost import Architecture
from m3_backbone.decoder import Block, Decoder, Step
from m3_backbone.encoded import TorchEncodedImage
from m3_backbone.images import content_hash
from m3_backbone.pooling import REDUCERS, Layout
from m3_backbone.preprocess import preprocess
from m3_backbone.prompt import Prompt, build_prompt, conversation
from m3_backbone.sampling import Sampler
from m3_backbone.scales import Ladder
from m3_backbone.summary import summarise
from m3_backbone.tokenizer import Tokenizer
from m3_backbone.types import (
    CheckpointError,
    EncodedImage,
    Generation,
    GenerationRequest,
    PromptTooLong,
    RouteInputs,
    TokenEvent,
)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
OnToken = Callable[[int, TokenEvent], None]


class M3Model:
    """A frozen M3 model. Made by `load_backbone`; not thread-safe: one thread at a time.

    model: the torch modules (tower, projector, language model). ladder, name, fingerprint: as served.
    """

    def __init__(
        self, checkpoint: Checkpoint, tokenizer: Tokenizer, template: str, *, reducer: str = "average"
    ) -> None:
        if reducer not in REDUCERS:
            raise ValueError(f"Reducer {reducer!r} is not known. Known: {', '.join(REDUCERS)}.")
        self.checkpoint = checkpoint
        self.config = checkpoint.config
        self.name = checkpoint.name
        self.fingerprint = checkpoint.fingerprint
        self.ladder = checkpoint.config.ladder
        self.tokenizer = tokenizer
        self.model = checkpoint.modules
        self.model.drop_unused_layers()
        self.decoder = Decoder(self.model.language_model)
        self.conversation = template
        self.template = conversation(template)
        self.stop_ids = _stop_ids(checkpoint, tokenizer)
        self._reducer = REDUCERS[reducer]
        self._content = _content_ids(tokenizer)
        positions = self.config.context_tokens
        limit = self.config.raw.get("tokenizer_model_max_length")
        self.context_tokens = positions
        self.prompt_limit = min(positions, limit) if isinstance(limit, int) and limit > 0 else positions

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

    @torch.inference_mode()
    def encode_images(self, images: Sequence[Image.Image]) -> list[TorchEncodedImage]:
        """Like `encode_image`, with all views of all images in one batch."""
        rgb = [image if image.mode == "RGB" else image.convert("RGB") for image in images]
        views = [preprocess(image, self.config, self.checkpoint.conditioning) for image in rgb]
        if not views:
            return []
        pixels = torch.cat([torch.from_numpy(view.pixels) for view in views])
        features = self.model.patch_features(pixels.to(device=self.device, dtype=self.dtype))
        side = self.ladder.grid_side
        grids = self.model.project(features).reshape(len(pixels), side, side, -1)
        encoded = []
        for image, view, grid in zip(
            rgb, views, torch.split(grids, [len(v.pixels) for v in views]), strict=True
        ):
            encoded.append(
                TorchEncodedImage(
                    grid=grid.clone() if len(views) > 1 else grid,  # a slice would keep the batch alive
                    layout=Layout(view.size, view.tiles, self.config.merge),
                    ladder=self.ladder,
                    content_hash=content_hash(image),
                    owner=self.fingerprint,
                    reducer=self._reducer,
                    newline=self.model.image_newline,
                )
            )
        return encoded

    # Prompts

    def prompt(self, turns: Sequence[str], images: int) -> Prompt:
        """Ids of the prompt's text around ``images`` slots."""
        return build_prompt(self.tokenizer, self.template, turns, images)

    def _checked(self, request: GenerationRequest) -> tuple[Prompt, list[TorchEncodedImage]]:
        images = [self._own(image) for image, _ in request.images]
        visual = sum(image.n_tokens(scale) for image, (_, scale) in zip(images, request.images, strict=True))
        prompt = self.prompt(request.turns, len(images))
        total = prompt.text_tokens + visual
        if total > self.prompt_limit:
            raise PromptTooLong(
                f"The prompt has {total} tokens ({visual} visual, {prompt.text_tokens} text); "
                f"the model takes at most {self.prompt_limit}. Ask for less, or choose a smaller scale."
            )
        if total + request.max_new_tokens > self.context_tokens:
            raise PromptTooLong(
                f"The prompt has {total} tokens and {request.max_new_tokens} new ones are asked for; "
                f"the context holds {self.context_tokens}. Lower max_new_tokens or the scale."
            )
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
                    rows[key] = Row(self._embed(prompt.chunks[:-1], images, scales))
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
                run(self.decoder, list(rows.values()), picked, cancelled)
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
        prompt, images = self._checked(request)
        embeds = self._embed((*prompt.chunks[:-1],), images, [scale for _, scale in request.images])
        last = self.decoder.embed(torch.tensor(prompt.chunks[-1], device=self.device))
        hidden = torch.cat((embeds, last))
        n = hidden.shape[0]
        positions = torch.arange(n, device=self.device)
        states = self.decoder.forward([Step(Block(self.decoder, 1, n), hidden, positions, n, mask=None)])
        return self.decoder.logits(states)

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
            text_tokens=self.prompt(turns, 1).text_tokens,
        )

    def flops(self, *, views: int, visual_tokens: int, text_tokens: int, new_tokens: int) -> int:
        """FLOPs of the whole path for one request, tower included (see `m3_backbone.cost`)."""
        return self.architecture.request_flops(views, visual_tokens, text_tokens, new_tokens)

    @cached_property
    def architecture(self) -> Architecture:
        """Sizes of this model, for what a request costs."""
        return Architecture.from_config(self.config.raw, self.model.tower.config.to_dict())


def load_backbone(
    path: str | Path,
    dtype: str = "float32",
    device: str = "cpu",
    vision_tower: str | Path | None = None,
    conversation: str | None = None,
    *,
    ladder: Ladder | None = None,
    reducer: str = "average",
) -> M3Model:
    """The model in a checkpoint folder, a hub name, or the embedded one (``"tiny"``).

    vision_tower: the CLIP folder, where config.json's does not resolve. conversation: name of the template;
    default is config.json's ``m3_conversation``, else vicuna_v1. ladder: for a plain LLaVA without scales.
    Raises `CheckpointError` naming everything that does not fit.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r} is not known. Known: {', '.join(DTYPES)}.")
    if str(path) == "tiny" and not Path(path).is_dir():
        from m3_backbone import embedded_path

        path = embedded_path()
    checkpoint = load_checkpoint(
        path, dtype=DTYPES[dtype], device=device, vision_tower=vision_tower, ladder=ladder
    )
    tokenizer = Tokenizer.load(checkpoint.folder)
    vocabulary = int(checkpoint.modules.language_model.config.vocab_size)
    if tokenizer.size > vocabulary:
        raise CheckpointError(
            f"The tokenizer has {tokenizer.size} pieces, the model {vocabulary} embeddings."
        )
    template = conversation or checkpoint.config.conversation or "vicuna_v1"
    return M3Model(checkpoint, tokenizer, template, reducer=reducer)


def _sampler(request: GenerationRequest) -> Sampler | None:
    return Sampler(request.temperature, request.top_p, request.seed) if request.temperature > 0 else None


def _stop_ids(checkpoint: Checkpoint, tokenizer: Tokenizer) -> frozenset[int]:
    path = checkpoint.folder / "generation_config.json"
    named = read_json(path).get("eos_token_id") if path.is_file() else None
    listed = named if isinstance(named, list) else [named]
    return frozenset({tokenizer.eos_id, *(value for value in listed if isinstance(value, int))})


def _content_ids(tokenizer: Tokenizer) -> Tensor:
    """bool [pieces]: those with a letter or a digit."""
    return torch.tensor([re.search(r"\w", piece) is not None for piece in tokenizer.pieces()])
