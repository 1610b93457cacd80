"""Labelling records how likely the full scale's answer is at every scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from data.records import OutcomeTable, read_outcomes
from m3_backbone.loading import load_backbone
from m3_backbone.types import Generation, GenerationRequest
from tests.backbones import picture, write_checkpoint
from tests.labelling import SETTINGS, FakeBackbone, assert_equal, samples
from training.full_answers import full_logprobs
from training.label import label
from training.parts import Part, merge


@dataclass
class Rating(FakeBackbone):
    """Says of a foreign answer that each of its tokens has the probability exp(-scale / 4)."""

    asked: list[int] = field(default_factory=list)

    def _answer(self, request: GenerationRequest) -> Generation:
        said = super()._answer(request)
        return replace(said, token_ids=tuple(map(ord, said.text)))

    def answer_logprobs(
        self, requests: Sequence[GenerationRequest], answers: Sequence[Sequence[int]]
    ) -> list[tuple[float, ...]]:
        self.asked += [request.images[0][1] for request in requests]
        return [
            (-request.images[0][1] / 4,) * len(answer)
            for request, answer in zip(requests, answers, strict=True)
        ]


def checked(table: OutcomeTable) -> int:
    """How many answers were not the full scale's; raises for a value that is not as `Rating` says."""
    other = table.answers != table.answers[:, -1:]
    for s, scale in enumerate(table.scales):
        np.testing.assert_allclose(table.full_logprob[other[:, s], s], -scale / 4)
    # The same tokens: their probability was told with the answer.
    np.testing.assert_array_equal(table.full_logprob[~other], table.mean_logprob[~other])
    return int(other.sum())


def test_the_model_is_asked_where_an_answer_is_not_the_full_scales(tmp_path: Path) -> None:
    backbone = Rating()
    table = label(backbone, samples(10, 3), tmp_path, SETTINGS)
    assert checked(table) == len(backbone.asked) > 0
    assert max(backbone.asked) < backbone.ladder.full
    assert_equal(table, read_outcomes(tmp_path))


def test_a_model_that_only_generates_leaves_no_column(tmp_path: Path) -> None:
    table = label(FakeBackbone(), samples(3), tmp_path, SETTINGS)
    assert np.isnan(table.full_logprob).all()
    assert np.isnan(read_outcomes(tmp_path).full_logprob).all()


def test_parts_and_scales_are_merged_with_it(tmp_path: Path) -> None:
    whole = label(Rating(), samples(7, 2), tmp_path / "whole", SETTINGS)
    folders = [tmp_path / str(number) for number in (1, 2)]
    for number, folder in enumerate(folders, 1):
        label(Rating(), samples(7, 2), folder, replace(SETTINGS, part=Part(number, 2)))
    assert_equal(merge(folders, tmp_path / "parts"), whole)
    # Of a table without the full scale nothing is known of the full scale's answer.
    for name, scales in (("ends", (1, 36)), ("middle", (9,))):
        label(Rating(), samples(7, 2), tmp_path / name, replace(SETTINGS, scales=scales))
    merged = merge([tmp_path / "middle", tmp_path / "ends"], tmp_path / "scales")
    assert np.isnan(merged.full_logprob[:, 1]).all()
    np.testing.assert_array_equal(merged.full_logprob[:, [0, 2]], whole.full_logprob[:, [0, 2]])


def test_of_a_real_model_it_is_how_likely_that_answer_is_there(tmp_path: Path) -> None:
    model = load_backbone(write_checkpoint(tmp_path))
    image = model.encode_image(picture())
    requests = [GenerationRequest((q,), ((image, s),), 4) for q in ("What?", "Where?") for s in model.ladder]
    answers = model.generate(requests)
    found = full_logprobs(model, model.ladder, model.ladder.full, requests, answers)
    for place, (request, value) in enumerate(zip(requests, found, strict=True)):
        full = answers[place - place % 3 + 2]
        (logprobs,) = model.answer_logprobs([request], [full.token_ids])
        assert value == pytest.approx(sum(logprobs) / len(logprobs), abs=1e-4)
    assert found[2] == answers[2].mean_logprob
    narrow = full_logprobs(model, model.ladder, 576, requests, answers)
    assert all(map(math.isnan, narrow))
    assert full_logprobs(model, model.ladder, model.ladder.full, [], []) == []
