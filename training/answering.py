"""The images of a shard -> rows of an outcome table: every question at every scale, one encoding per image.

The batches of a shard are the same wherever and whenever it is made: made again, it is the same shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.builder import TableBuilder
from data.records import Outcome, OutcomeTable, Sample
from data.scoring import metric
from m3_backbone.scales import Ladder
from m3_backbone.types import EncodedImage, Generation, GenerationRequest, RouteInputs
from training.full_answers import full_logprobs
from training.parts import Part
from training.prefetch import Opened
from training.shards import Group
from training.some_scales import narrowed


class Identity(Protocol):
    """What the labels are of."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def ladder(self) -> Ladder: ...


class Backbone(Identity, Protocol):
    """What labelling needs of a model: the synchronous side of `m3_backbone`."""

    def encode_image(self, image: Image.Image) -> Any: ...

    def summarise(self, image: Any, question: str) -> RouteInputs: ...

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]: ...

    def flops(self, *, views: int, visual_tokens: int, text_tokens: int, new_tokens: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """prompt: name of the conversation template. dtype: what answers are computed in. reducer, compiled: how
    the backbone was loaded. engine: what answers, torch or vllm. All five are part of the labels.

    batch_images: images whose questions go to the model together. process: open images in a second process.
    part: which part of the data set, where several machines share the work (`training.parts`).
    scales: those of the ladder to label, None for all (`training.some_scales`).
    """

    prompt: str
    dtype: str = "float32"
    reducer: str = "average"
    compiled: bool = False
    engine: str = "torch"
    max_new_tokens: int = 16
    shard_images: int = 250
    batch_images: int = 8
    process: bool = True
    part: Part | None = None
    scales: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A run's work. manifest: of every shard. ladder: the scales that are labelled."""

    shards: Sequence[Sequence[Group]]
    ladder: Ladder
    manifest: Mapping[str, object]
    settings: Settings


@dataclass(frozen=True, slots=True)
class Batch:
    """Progress: some samples were answered, some images could not be opened."""

    samples: int
    unreadable: int
    scores: NDArray[np.float64]  # [S], sum over the samples


@dataclass(frozen=True, slots=True)
class Made:
    """A finished shard. table: None where no image could be opened. faults: image id -> why it could not."""

    number: int
    table: OutcomeTable | None
    faults: Mapping[str, str]


def make_shard(
    backbone: Backbone, plan: Plan, number: int, images: Iterator[Opened]
) -> Iterator[Batch | Made]:
    """Shard ``number`` of ``plan``, batch by batch. images: of its groups, in order."""
    builder = TableBuilder(plan.manifest)
    faults: dict[str, str] = {}
    for batch in _batches(plan.shards[number], plan.settings.batch_images):
        before, samples, scores = len(faults), 0, np.zeros(len(plan.ladder))
        for sample, inputs, outcomes in _answer(backbone, plan.ladder, batch, images, faults, plan.settings):
            builder.add(sample, inputs, outcomes)
            scores += [o.score for o in outcomes]
            samples += 1
        yield Batch(samples, len(faults) - before, scores)
    yield Made(number, builder.build() if len(builder) else None, faults)


def _batches(shard: Sequence[Group], size: int) -> Iterator[Sequence[Group]]:
    for i in range(0, len(shard), size):
        yield shard[i : i + size]


def _answer(
    backbone: Backbone,
    ladder: Ladder,
    batch: Sequence[Group],
    images: Iterator[Opened],
    faults: dict[str, str],
    settings: Settings,
) -> Iterator[tuple[Sample, RouteInputs, list[Outcome]]]:
    """All samples of some images at all scales of ``ladder``, in one call of the model."""
    asked: list[tuple[Sample, EncodedImage]] = []
    for group in batch:
        opened = next(images)
        if isinstance(opened, str):
            faults[group[0].image_id] = opened
            continue
        encoded = backbone.encode_image(opened)
        asked += [(sample, encoded) for sample in group]
    requests = [
        GenerationRequest((sample.question,), ((encoded, scale),), settings.max_new_tokens)
        for sample, encoded in asked
        for scale in ladder
    ]
    answers = backbone.generate(requests) if requests else []
    likely = full_logprobs(backbone, ladder, backbone.ladder.full, requests, answers)
    said = zip(answers, likely, strict=True)
    for sample, encoded in asked:
        outcomes = [_outcome(backbone, sample, encoded, scale, *next(said)) for scale in ladder]
        yield sample, narrowed(backbone.summarise(encoded, sample.question), ladder), outcomes


def _outcome(
    backbone: Backbone,
    sample: Sample,
    image: EncodedImage,
    scale: int,
    answer: Generation,
    full_logprob: float,
) -> Outcome:
    text_tokens = answer.prompt_tokens - answer.visual_tokens
    return Outcome(
        sample_id=sample.sample_id,
        scale=scale,
        answer=answer.text,
        score=metric(sample.metric)(answer.text, sample.answers),
        visual_tokens=answer.visual_tokens,
        text_tokens=text_tokens,
        answer_tokens=len(answer.token_ids),
        mean_logprob=answer.mean_logprob,
        min_logprob=answer.min_logprob,
        first_margin=answer.first_margin,
        flops=backbone.flops(
            views=image.views,
            visual_tokens=answer.visual_tokens,
            text_tokens=text_tokens,
            new_tokens=len(answer.token_ids),
        ),
        full_logprob=full_logprob,
    )
