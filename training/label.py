"""Backbone x data set -> outcome table: every sample at every scale, one encoding per image.

Work is cut into shards of some hundred images (`training.shards`). A kill at any moment loses the shard in
flight and nothing else; the next run with the same backbone, prompt and data set continues, any other is
refused. The result does not depend on where earlier runs were interrupted.

Not covered: retries of images that could not be opened (they are counted and listed in the manifest).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.builder import TableBuilder
from data.records import SCHEMA_VERSION, Outcome, OutcomeTable, Sample
from data.scoring import ScoringError, metric
from data.sources.skipped import Skipped
from m3_backbone.scales import Ladder
from m3_backbone.types import EncodedImage, Generation, GenerationRequest, RouteInputs
from training.interrupt import Stopped
from training.parts import KEY, Part
from training.prefetch import Opened, open_all
from training.run_manifest import described_data, run_manifest
from training.shards import Group, LabelError, Shards, by_image, plan
from training.some_scales import narrowed, some_of

__all__ = ["Backbone", "LabelError", "Settings", "Stopped", "Tally", "label"]


class Backbone(Protocol):
    """What labelling needs of a model: the synchronous side of `m3_backbone`."""

    name: str
    fingerprint: str
    ladder: Ladder

    def encode_image(self, image: Image.Image) -> Any: ...

    def summarise(self, image: Any, question: str) -> RouteInputs: ...

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]: ...

    def flops(self, *, views: int, visual_tokens: int, text_tokens: int, new_tokens: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """prompt: name of the conversation template. dtype: what the weights run in. reducer, compiled: how the
    backbone was loaded. All four are part of the labels.

    batch_images: images whose questions go to the model together. process: open images in a second process.
    part: which part of the data set, where several machines share the work (`training.parts`).
    scales: those of the ladder to label, None for all (`training.some_scales`).
    """

    prompt: str
    dtype: str = "float32"
    reducer: str = "average"
    compiled: bool = False
    max_new_tokens: int = 16
    shard_images: int = 250
    batch_images: int = 8
    process: bool = True
    part: Part | None = None
    scales: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """How far a run is. scores: sum of the scores of the samples done, per scale."""

    total: int  # samples of the data set
    done: int  # with those of earlier runs
    resumed: int  # from earlier runs
    unreadable: int  # images that could not be opened
    scores: NDArray[np.float64]  # [S]

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Mean score per scale, so far."""
        return self.scores / max(1, self.done)


def label(
    backbone: Backbone,
    samples: Iterable[Sample],
    out: Path,
    settings: Settings,
    on_progress: Callable[[Tally], None] = lambda tally: None,
    stop: Callable[[], bool] = lambda: False,
    skipped: Skipped | None = None,
) -> OutcomeTable:
    """Label ``samples`` with ``backbone`` into the folder ``out``; returns the finished table.

    stop: asked after every shard; `Stopped` is raised when it says True and shards are left.
    skipped: what the reader of ``samples`` left out; the manifest counts it.
    Raises `LabelError` when ``out`` was begun for another run, `ScaleError` for a scale that the backbone
    does not have, `ScoringError` for an unknown metric, and whatever the backbone raises; what was finished
    by then stays.
    """
    ladder = some_of(backbone.ladder, settings.scales)
    groups: Sequence[Group] = by_image(samples)
    images = len(groups)
    described = described_data(groups, skipped)
    if settings.part is not None:
        groups = settings.part.cut(groups)
    shards = plan(groups, settings.shard_images)
    everything = [s for shard in shards for group in shard for s in group]
    _check_references(everything)
    manifest = run_manifest(backbone, ladder, everything, settings)
    if settings.part is not None:
        manifest[KEY] = settings.part.describe(images)
    run = {**manifest, "schema_version": SCHEMA_VERSION, "shard_images": settings.shard_images}
    with Shards(out, run, shards) as store:
        scores, resumed, unreadable, missing = np.zeros(len(ladder)), 0, 0, []
        for number in range(len(shards)):
            shard = store.read(number)
            if shard is None:
                missing.append(number)
                continue
            unreadable += len(shard[1])
            if shard[0] is not None:
                resumed += len(shard[0])
                scores += shard[0].scores.sum(axis=0)
        done = resumed
        on_progress(Tally(len(everything), done, resumed, unreadable, scores.copy()))
        with closing(_images(shards, missing, settings)) as images:
            for place, number in enumerate(missing, 1):
                builder = TableBuilder(manifest)
                faults: dict[str, str] = {}
                for batch in _batches(shards[number], settings.batch_images):
                    for sample, inputs, outcomes in _answer(
                        backbone, ladder, batch, images, faults, settings
                    ):
                        builder.add(sample, inputs, outcomes)
                        scores += [o.score for o in outcomes]
                        done += 1
                    on_progress(
                        Tally(len(everything), done, resumed, unreadable + len(faults), scores.copy())
                    )
                store.write(number, builder.build() if len(builder) else None, faults)
                unreadable += len(faults)
                if place < len(missing) and stop():
                    raise Stopped(f"{done} of {len(everything)} samples are labelled")
        return store.join(described)


def _check_references(samples: Iterable[Sample]) -> None:
    """Raises `ScoringError`, naming the sample, for references that its metric could choke on later."""
    for sample in samples:
        score = metric(sample.metric)
        try:
            for prediction in ("", "a"):
                score(prediction, sample.answers)
        except ScoringError as error:
            raise ScoringError(f"Sample {sample.sample_id!r}: {error}") from None


def _images(shards: Sequence[Sequence[Group]], missing: Sequence[int], settings: Settings) -> Any:
    sources = [group[0].open_image for number in missing for group in shards[number]]
    return open_all(sources, ahead=2 * settings.batch_images, process=settings.process)


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
    answers = iter(backbone.generate(requests) if requests else ())
    for sample, encoded in asked:
        outcomes = [_outcome(backbone, sample, encoded, scale, next(answers)) for scale in ladder]
        yield sample, narrowed(backbone.summarise(encoded, sample.question), ladder), outcomes


def _outcome(
    backbone: Backbone, sample: Sample, image: EncodedImage, scale: int, answer: Generation
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
    )
