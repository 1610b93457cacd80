"""Rows -> outcome table: what the labeller and the importers fill, one sample at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.records import SCHEMA_VERSION, Outcome, OutcomeTable, RecordError, Sample, long_texts
from m3_backbone.types import RouteInputs


class TableBuilder:
    """Collects (sample, route inputs, one outcome per scale) and makes a table of them.

    manifest: what describes the run (`data.validation` lists the required keys; schema version, ladder
        and summary version come from the rows).
    """

    def __init__(self, manifest: Mapping[str, object]) -> None:
        self._manifest = dict(manifest)
        self._samples: list[Sample] = []
        self._inputs: list[RouteInputs] = []
        self._outcomes: list[list[Outcome]] = []
        self._image_row: dict[str, int] = {}
        self._images: list[RouteInputs] = []

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, sample: Sample, inputs: RouteInputs, outcomes: Sequence[Outcome]) -> None:
        """Add one sample. ``outcomes``: one per scale of the ladder, in any order.

        Raises `RecordError` when scales are missing or repeated, and when ``inputs`` does not fit the
        samples before it (another ladder, other statistics, another picture under the same image id).
        """
        ordered = sorted(outcomes, key=lambda o: o.scale)
        scales = tuple(o.scale for o in ordered)
        if scales != inputs.ladder.scales:
            raise RecordError(
                f"Sample {sample.sample_id!r} has outcomes at the scales {list(scales)}; "
                f"the ladder is {list(inputs.ladder)}."
            )
        first = self._inputs[0] if self._inputs else inputs
        for name in ("ladder", "grid_stat_names", "interaction_names", "version"):
            if getattr(inputs, name) != getattr(first, name):
                raise RecordError(f"Sample {sample.sample_id!r}: its {name} differs from those before it.")
        row = self._image_row.setdefault(sample.image_id, len(self._images))
        if row == len(self._images):
            self._images.append(inputs)
        elif not np.array_equal(self._images[row].pooled, inputs.pooled):
            raise RecordError(
                f"Sample {sample.sample_id!r}: its picture is not the one that image id "
                f"{sample.image_id!r} had before."
            )
        self._samples.append(sample)
        self._inputs.append(inputs)
        self._outcomes.append(ordered)

    def build(self) -> OutcomeTable:
        """The table of what was added; raises `RecordError` when nothing was."""
        if not self._samples:
            raise RecordError("There is no sample to make an outcome table of.")
        first, samples, images = self._inputs[0], self._samples, self._images
        names = dict.fromkeys(key for s in samples for key in s.difficulty)
        return OutcomeTable(
            manifest={
                **self._manifest,
                "schema_version": SCHEMA_VERSION,
                "ladder": list(first.ladder),
                "summary_version": first.version,
            },
            scales=first.ladder.scales,
            sample_ids=tuple(s.sample_id for s in samples),
            questions=tuple(s.question for s in samples),
            references=tuple(tuple(s.answers) for s in samples),
            families=np.array([s.family for s in samples], np.str_),
            kinds=np.array([s.kind for s in samples], np.str_),
            datasets=np.array([s.dataset for s in samples], np.str_),
            metrics=np.array([s.metric for s in samples], np.str_),
            image_index=np.array([self._image_row[s.image_id] for s in samples], np.int64),
            image_ids=tuple(self._image_row),
            image_sizes=np.array([i.image_size for i in images], np.int64),
            image_views=np.array([i.views for i in images], np.int64),
            answers=long_texts([[o.answer for o in row] for row in self._outcomes]),
            scores=self._per_scale("score", np.float64),
            visual_tokens=self._per_scale("visual_tokens", np.int64),
            text_tokens=np.array([i.text_tokens for i in self._inputs], np.int64),
            answer_tokens=self._per_scale("answer_tokens", np.int64),
            mean_logprob=self._per_scale("mean_logprob", np.float32),
            min_logprob=self._per_scale("min_logprob", np.float32),
            first_margin=self._per_scale("first_margin", np.float32),
            flops=self._per_scale("flops", np.int64),
            full_logprob=self._per_scale("full_logprob", np.float32),
            grid_stats=np.array([i.grid_stats for i in images], np.float32),
            grid_stat_names=first.grid_stat_names,
            pooled=np.array([i.pooled for i in images], np.float32),
            fine=np.array([i.fine for i in images], np.float32),
            question=np.array([i.question for i in self._inputs], np.float32),
            question_tokens=tuple(i.question_tokens for i in self._inputs),
            interaction=np.array([i.interaction for i in self._inputs], np.float32),
            interaction_names=first.interaction_names,
            difficulty={
                name: np.array([s.difficulty.get(name, np.nan) for s in samples], np.float32)
                for name in names
            },
        )

    def _per_scale(self, name: str, kind: type[np.generic]) -> NDArray[Any]:
        return np.array([[getattr(o, name) for o in row] for row in self._outcomes], kind)
