"""Backbone x data set -> outcome table: every sample at every scale, one encoding per image.

Work is cut into shards of some hundred images (`training.shards`). A kill at any moment loses the shard in
flight and nothing else; the next run with the same backbone, prompt and data set continues, any other is
refused. The result does not depend on where earlier runs were interrupted.

Not covered: retries of images that could not be opened (they are counted and listed in the manifest).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.records import SCHEMA_VERSION, OutcomeTable, Sample
from data.scoring import ScoringError, metric
from data.sources.skipped import Skipped
from training.answering import Backbone, Batch, Identity, Made, Plan, Settings, make_shard
from training.interrupt import Stopped
from training.prefetch import open_all
from training.run_manifest import described_data, run_manifest
from training.shards import PART, Group, LabelError, Shards, by_image, plan
from training.some_scales import some_of

__all__ = ["Backbone", "LabelError", "Makes", "Settings", "Stopped", "Tally", "label", "label_by"]

Makes = Callable[[Plan, Sequence[int]], Generator[Batch | Made]]
"""Makes the shards of the given numbers, in any order."""


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
    Raises `LabelError` when ``out`` was begun for another run or no image could be opened (`EmptyPart` for a
    part, which is then finished), `ScaleError` for a scale that the backbone does not have, `ScoringError`
    for an unknown metric, and whatever the backbone raises; what was finished by then stays.
    """
    make = partial(_one_by_one, backbone)
    return label_by(backbone, make, samples, out, settings, on_progress, stop, skipped)


def label_by(
    identity: Identity,
    make: Makes,
    samples: Iterable[Sample],
    out: Path,
    settings: Settings,
    on_progress: Callable[[Tally], None] = lambda tally: None,
    stop: Callable[[], bool] = lambda: False,
    skipped: Skipped | None = None,
) -> OutcomeTable:
    """`label` with shards that ``make`` makes, wherever that is, of labels of ``identity``.

    Only this process writes into ``out``.
    """
    ladder = some_of(identity.ladder, settings.scales)
    groups: Sequence[Group] = by_image(samples)
    images = len(groups)
    described = described_data(groups, skipped)
    if settings.part is not None:
        groups = settings.part.cut(groups)
    shards = plan(groups, settings.shard_images)
    everything = [s for shard in shards for group in shard for s in group]
    _check_references(everything)
    manifest = run_manifest(identity, ladder, everything, settings)
    if settings.part is not None:
        manifest[PART] = settings.part.describe(images)
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
        done, left = resumed, len(missing)
        on_progress(Tally(len(everything), done, resumed, unreadable, scores.copy()))
        with closing(make(Plan(shards, ladder, manifest, settings), missing)) as steps:
            for step in steps:
                if isinstance(step, Batch):
                    done += step.samples
                    unreadable += step.unreadable
                    scores += step.scores
                    on_progress(Tally(len(everything), done, resumed, unreadable, scores.copy()))
                    continue
                store.write(step.number, step.table, step.faults)
                left -= 1
                if left and stop():
                    raise Stopped(f"{done} of {len(everything)} samples are labelled")
        return store.join(described)


def _one_by_one(backbone: Backbone, work: Plan, missing: Sequence[int]) -> Generator[Batch | Made]:
    """The shards in this process, each after the one before."""
    sources = [group[0].open_image for number in missing for group in work.shards[number]]
    ahead = 2 * work.settings.batch_images
    with closing(open_all(sources, ahead=ahead, process=work.settings.process)) as images:
        for number in missing:
            yield from make_shard(backbone, work, number, images)


def _check_references(samples: Iterable[Sample]) -> None:
    """Raises `ScoringError`, naming the sample, for references that its metric could choke on later."""
    for sample in samples:
        score = metric(sample.metric)
        try:
            for prediction in ("", "a"):
                score(prediction, sample.answers)
        except ScoringError as error:
            raise ScoringError(f"Sample {sample.sample_id!r}: {error}") from None
