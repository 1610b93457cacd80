"""What labels are: every sample at every scale, as the model said it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.records import Sample, read_outcomes
from data.scoring import ScoringError
from data.sources import Skipped
from m3_backbone.types import GenerationRequest
from tests.labelling import SETTINGS, FakeBackbone, content, samples
from training.label import LabelError, Tally, label
from training.shards import by_image, plan


def test_every_sample_is_labelled_at_every_scale_and_every_image_encoded_once(tmp_path: Path) -> None:
    backbone = FakeBackbone()
    table = label(backbone, samples(10, 3), tmp_path, SETTINGS)
    assert table.sample_ids == tuple(s.sample_id for s in samples(10, 3))
    assert table.scores.shape == (30, 3)
    assert len(backbone.encoded) == len(set(backbone.encoded)) == 10
    back = read_outcomes(tmp_path)
    np.testing.assert_array_equal(back.scores, table.scores)
    assert 0 < back.scores[:, 0].mean() < back.scores[:, 2].mean() == 1.0
    assert back.manifest["prompt"] == "plain"
    assert back.manifest["metric"] == "exact_match"
    assert back.manifest["backbone_fingerprint"] == "fake-1"
    assert back.difficulty.keys() == {"size", "count"}


def test_the_rows_hold_what_the_model_said(tmp_path: Path) -> None:
    backbone = FakeBackbone()
    table = label(backbone, samples(3), tmp_path, SETTINGS)
    sample = samples(3)[3]
    image = backbone.encode_image(sample.open_image())
    (answer,) = backbone.generate([GenerationRequest((sample.question,), ((image, 9),))])
    assert table.answers[3, 1] == answer.text
    assert table.answer_tokens[3, 1] == len(answer.token_ids)
    assert table.mean_logprob[3, 1] == pytest.approx(answer.mean_logprob, rel=1e-3)
    assert table.text_tokens[3] == 4
    assert table.flops[3, 1] == 10**9 + (9 + 4 + len(answer.token_ids)) * 10**6


def test_samples_of_one_image_are_grouped_wherever_they_stand(tmp_path: Path) -> None:
    mixed = sorted(samples(6, 2), key=lambda s: s.sample_id.rpartition("/")[2])
    backbone = FakeBackbone()
    table = label(backbone, mixed, tmp_path, SETTINGS)
    assert len(backbone.encoded) == 6
    assert table.sample_ids == tuple(s.sample_id for s in samples(6, 2))


def test_a_second_process_gives_the_same_table(tmp_path: Path) -> None:
    label(FakeBackbone(), samples(9), tmp_path / "a", SETTINGS)
    label(FakeBackbone(), samples(9), tmp_path / "b", replace(SETTINGS, process=True))
    assert content(tmp_path / "a") == content(tmp_path / "b")


@pytest.mark.parametrize("process", [False, True])
def test_images_that_cannot_be_opened_are_counted_and_listed(tmp_path: Path, process: bool) -> None:
    tallies: list[Tally] = []
    settings = replace(SETTINGS, process=process)
    table = label(FakeBackbone(), samples(9, broken=[1, 8]), tmp_path, settings, tallies.append)
    assert len(table) == 14
    assert table.manifest["unreadable_images"] == {
        "toy/1": "cannot read picture 1",
        "toy/8": "cannot read picture 8",  # a shard of its own
    }
    assert tallies[-1].unreadable == 2
    again = FakeBackbone()
    label(again, samples(9, broken=[1, 8]), tmp_path, settings, tallies.append)
    assert again.encoded == []
    assert tallies[-1].unreadable == 2


def test_a_data_set_without_a_readable_image_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"No image could be opened.*cannot read picture 0"):
        label(FakeBackbone(), samples(2, broken=[0, 1]), tmp_path, SETTINGS)


def test_wrong_data_sets_and_settings_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="no samples"):
        label(FakeBackbone(), [], tmp_path, SETTINGS)
    with pytest.raises(LabelError, match="'toy/0/0' comes twice"):
        label(FakeBackbone(), samples(1) * 2, tmp_path, SETTINGS)
    with pytest.raises(ScoringError, match="Metric 'guess' is not known"):
        label(FakeBackbone(), samples(1, metric="guess"), tmp_path, SETTINGS)
    with pytest.raises(LabelError, match="at least 1 image, got 0"):
        plan(by_image(samples(1)), 0)
    assert list(tmp_path.iterdir()) == []


def test_the_sample_type_of_the_tests_is_the_real_one() -> None:
    assert all(isinstance(sample, Sample) for sample in samples(1))


@pytest.mark.parametrize(
    ("metric", "answers", "message"),
    [
        ("textvqa_m4c", ("yes",), r"Sample 'toy/1/0': textvqa_m4c needs exactly 10 references, got 1"),
        ("anls_m4c", ("a", ""), "Sample 'toy/1/0': anls_m4c cannot compare an empty"),
        ("exact_match", (), "Sample 'toy/1/0': A metric needs a list of at least one"),
    ],
)
def test_references_that_a_metric_cannot_use_are_refused_before_any_work(
    tmp_path: Path, metric: str, answers: tuple[str, ...], message: str
) -> None:
    mixed = samples(2, 1)
    mixed[1] = replace(mixed[1], metric=metric, answers=answers)
    backbone = FakeBackbone()
    with pytest.raises(ScoringError, match=message):
        label(backbone, mixed, tmp_path, SETTINGS)
    assert backbone.encoded == []
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_names_the_prompts_and_counts_what_the_reader_left_out(tmp_path: Path) -> None:
    mixed = [replace(s, prompt=p) for s, p in zip(samples(2, 1), ("vizwiz", "as_written"), strict=True)]
    skipped = Skipped()
    skipped.add("no image", "line 3")
    table = label(FakeBackbone(), mixed, tmp_path / "a", SETTINGS, skipped=skipped)
    assert table.manifest["left_out"] == {"no image": 1}
    prompts = table.manifest["question_prompts"]
    assert isinstance(prompts, dict)
    assert list(prompts) == ["as_written", "vizwiz"]
    assert prompts["vizwiz"].startswith("{question}\nWhen the provided information is insufficient")
    assert read_outcomes(tmp_path / "a").manifest["question_prompts"] == prompts
    plain = label(FakeBackbone(), samples(2, 1), tmp_path / "b", SETTINGS, skipped=Skipped())
    assert not {"left_out", "question_prompts"} & plain.manifest.keys()
