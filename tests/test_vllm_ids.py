"""Greedy ids of vLLM and torch are equal in float32: at all scales, in mixed batches of 32."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from data.scalebench import samples
from m3_backbone import GenerationRequest, load_backbone
from m3_backbone.model import M3Model
from m3_backbone.types import Generation
from m3_backbone.vllm import VllmBackbone
from tests.backbones import CLIP, GOLDEN, golden_cases
from tests.vllm_running import NEEDS_VLLM, running

pytestmark = NEEDS_VLLM
BATCH = 32
Asked = tuple[tuple[str, ...], Image.Image, int]


def requests(backbone: M3Model, asked: Sequence[Asked], new_tokens: int) -> list[GenerationRequest]:
    """Each image is encoded once."""
    encoded = {id(image): backbone.encode_image(image) for _, image, _ in asked}
    return [GenerationRequest(t, ((encoded[id(i)], s),), new_tokens) for t, i, s in asked]


def both(folder: str | Path, asked: list[Asked], cache: Path, new_tokens: int = 16) -> list[Generation]:
    """vLLM's answers in mixed batches of 32, after they were compared with torch's."""
    random.Random(0).shuffle(asked)
    tower = CLIP if folder != "tiny" else None
    whole = load_backbone(folder, vision_tower=tower)
    mine = [
        answer
        for start in range(0, len(asked), BATCH)
        for answer in whole.generate(requests(whole, asked[start : start + BATCH], new_tokens))
    ]
    split = load_backbone(folder, vision_tower=tower)
    with running(split, cache) as host:
        backbone = VllmBackbone(split, host)
        theirs = [
            answer
            for start in range(0, len(asked), BATCH)
            for answer in backbone.generate(requests(split, asked[start : start + BATCH], new_tokens))
        ]
    assert len(theirs) == len(asked)
    for one, other in zip(mine, theirs, strict=True):
        assert other.token_ids == one.token_ids
        assert (other.text, other.finish_reason) == (one.text, one.finish_reason)
        assert (other.prompt_tokens, other.visual_tokens) == (one.prompt_tokens, one.visual_tokens)
        assert other.logprobs == pytest.approx(one.logprobs, abs=1e-3)
        assert other.first_margin == pytest.approx(one.first_margin, abs=1e-3)
    return theirs


def test_on_m3_tiny(tmp_path: Path) -> None:
    ladder = load_backbone("tiny").ladder
    drawn = [(sample.question, sample.open_image()) for sample in samples("dev", BATCH)]
    asked: list[Asked] = [((question,), image, scale) for question, image in drawn for scale in ladder]
    assert len(both("tiny", asked, tmp_path)) == 5 * BATCH


@pytest.mark.parametrize("checkpoint", sorted({case["checkpoint"] for case in golden_cases()}))
def test_on_the_golden_checkpoints_and_as_the_reference_answered(checkpoint: str, tmp_path: Path) -> None:
    expected, asked = {}, []
    for case in golden_cases():
        if case["checkpoint"] == checkpoint:
            with Image.open(GOLDEN / case["image"]) as file:
                file.load()
                image = file.copy()
            for scale, reference in case["per_scale"].items():
                asked.append((tuple(case["turns"]), image, int(scale)))
                expected[asked[-1][0], id(image), int(scale)] = tuple(reference["greedy_ids"])
    others = [tuple(case["turns"]) for case in golden_cases()]
    more = [(turns, image, scale) for turns in others for _, image, scale in asked]
    asked += more[: -len(asked) % BATCH]  # the last batch is full too
    theirs = both(GOLDEN / checkpoint, asked, tmp_path)
    answers = {(t, id(i), s): answer for (t, i, s), answer in zip(asked, theirs, strict=True)}
    assert {key: answers[key].token_ids for key in expected} == expected
