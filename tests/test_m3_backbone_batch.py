from __future__ import annotations

import random
import weakref
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from m3_backbone import Generation, GenerationRequest, PromptTooLong, load_backbone
from m3_backbone.decoder import Decoder
from m3_backbone.model import M3Model
from m3_backbone.slots import Block, Step
from m3_backbone.types import KvBudgetExceeded, TokenEvent
from tests.backbones import CLIP, GOLDEN, LADDER, golden_backbone, picture, write_checkpoint

WORDS = ("what", "is", "the", "colour", "of", "a", "red", "square", "in", "this", "picture", "between", "two")


def words(n: int, seed: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=n))


def mixed(backbone: M3Model, n: int = 32, new: int = 12) -> list[GenerationRequest]:
    """All scales, prompts of 3 to 200 tokens, several questions about one image, and text alone."""
    images = [backbone.encode_image(picture(seed, (90 + seed, 60))) for seed in range(6)]
    requests = []
    for index in range(n):
        turns: tuple[str, ...] = (words(1 + (index * 13) % 90, index),)
        if index % 7 == 3:
            turns = (words(4, index), words(3, index + 1), words(5, index + 2))
        pictures = () if index % 9 == 8 else ((images[index % 6], LADDER[index % 5]),)
        requests.append(GenerationRequest(turns, pictures, max_new_tokens=1 + index % new))
    return requests


def singles(backbone: M3Model, requests: Sequence[GenerationRequest]) -> list[Generation]:
    return [backbone.generate([request])[0] for request in requests]


def test_a_mixed_batch_of_32_equals_single_runs() -> None:
    backbone = golden_backbone("llava-v1.5-7b-m3")
    requests = mixed(backbone)
    together = backbone.generate(requests)
    for alone, batched in zip(singles(backbone, requests), together, strict=True):
        assert batched.token_ids == alone.token_ids
        assert batched.logprobs == pytest.approx(alone.logprobs, abs=1e-4)
        assert batched.first_margin == pytest.approx(alone.first_margin, abs=1e-4)
        assert replace(batched, logprobs=(), first_margin=0) == replace(alone, logprobs=(), first_margin=0)


def test_anyres_images_of_different_views_go_into_one_batch() -> None:
    backbone = golden_backbone("llava-next-vicuna-7b-m3")
    sizes = ((640, 200), (200, 640), (700, 700), (336, 336))
    images = [backbone.encode_image(picture(seed, size)) for seed, size in enumerate(sizes)]
    requests = [
        GenerationRequest((words(5, index),), ((image, scale),), max_new_tokens=4)
        for index, image in enumerate(images)
        for scale in (1, 9, 144)
    ]
    expected = [answer.token_ids for answer in singles(backbone, requests)]
    assert [answer.token_ids for answer in backbone.generate(requests)] == expected


def test_early_stops_give_the_same_answers() -> None:
    backbone = golden_backbone("llava-v1.5-7b-m3")
    requests = [replace(request, max_new_tokens=20) for request in mixed(backbone, 24)]
    free = singles(backbone, requests)
    backbone.stop_ids = frozenset({2, *(free[index].token_ids[3 * index + 2] for index in range(6))})
    try:
        alone = singles(backbone, requests)
        together = backbone.generate(requests)
    finally:
        backbone.stop_ids = frozenset({2})
    assert [answer.token_ids for answer in together] == [answer.token_ids for answer in alone]
    assert {answer.finish_reason for answer in alone} >= {"stop"}
    assert len({len(answer.token_ids) for answer in alone}) > 4


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> M3Model:
    """Fewer key heads than query heads."""
    return load_backbone(write_checkpoint(tmp_path_factory.mktemp("small") / "m3"))


def test_labelling_equals_single_runs_and_keeps_the_order(small: M3Model) -> None:
    images = small.encode_images([picture(seed) for seed in range(3)])
    questions = [[words(3, 1), words(9, 2)], [words(5, 3)], [words(2, 4), words(2, 5), words(7, 6)]]
    answers = small.answer_many(images, (1, 9, 36), questions, max_new_tokens=5)
    for image, asked, found in zip(images, questions, answers, strict=True):
        for question, by_scale in zip(asked, found, strict=True):
            for scale, answer in zip((1, 9, 36), by_scale, strict=True):
                request = GenerationRequest((question,), ((image, scale),), max_new_tokens=5)
                assert answer.token_ids == small.generate([request])[0].token_ids
                assert answer.visual_tokens == scale


def test_one_bad_request_does_not_touch_its_batch_mates(small: M3Model) -> None:
    image = small.encode_image(picture())
    good = GenerationRequest(("What is it?",), ((image, 9),), max_new_tokens=4)
    bad = replace(good, turns=("word " * 400,))
    off = replace(good, images=((image, 10),))
    results = small.generate_each([good, bad, off, good])
    assert isinstance(results[1], PromptTooLong)
    assert isinstance(results[2], ValueError)
    expected = small.generate([good])[0].token_ids
    for result in (results[0], results[3]):
        assert isinstance(result, Generation)
        assert result.token_ids == expected
    assert isinstance(small.generate_each([bad])[0], PromptTooLong)
    assert small.generate_each([]) == []


def test_tokens_are_streamed_and_their_texts_make_the_answer(small: M3Model) -> None:
    image = small.encode_image(picture())
    requests = [GenerationRequest((words(4, n),), ((image, 9),), max_new_tokens=12) for n in range(6)]
    events: dict[int, list[TokenEvent]] = {index: [] for index in range(6)}
    results = small.generate_each(requests, lambda index, event: events[index].append(event))
    for index, result in enumerate(results):
        assert isinstance(result, Generation)
        assert [event.token_id for event in events[index]] == list(result.token_ids)
        assert "".join(event.text for event in events[index]) == result.text
        assert events[index][-1].generation == result
        assert all(event.generation is None for event in events[index][:-1])


def test_a_cancelled_request_ends_with_what_it_has_and_the_others_go_on(small: M3Model) -> None:
    image = small.encode_image(picture())
    requests = [GenerationRequest((words(4, n),), ((image, 9),), max_new_tokens=10) for n in range(3)]
    counts = [0, 0, 0]

    def count(index: int, event: TokenEvent) -> None:
        counts[index] += 1

    results = small.generate_each(requests, count, lambda index: index == 1 and counts[1] >= 2)
    expected = small.generate(requests)
    first, stopped, last = results
    assert isinstance(first, Generation)
    assert isinstance(last, Generation)
    assert (first.token_ids, last.token_ids) == (expected[0].token_ids, expected[2].token_ids)
    assert isinstance(stopped, Generation)
    assert stopped.finish_reason == "abort"
    assert stopped.token_ids == expected[1].token_ids[:2]
    at_once = small.generate_each(requests, None, lambda index: True)
    assert all(isinstance(result, Generation) and result.token_ids == () for result in at_once)


def test_sampling_depends_on_the_seed_and_not_on_batch_mates(small: M3Model) -> None:
    image = small.encode_image(picture())
    requests = [
        GenerationRequest(("What?",), ((image, 9),), max_new_tokens=8, temperature=1.5, top_p=0.9, seed=seed)
        for seed in (1, 2, 1)
    ]
    first, second, third = small.generate(requests)
    assert first.token_ids == third.token_ids != second.token_ids
    assert small.generate(requests[:1])[0].token_ids == first.token_ids
    greedy = replace(requests[0], temperature=0.0)
    narrow = replace(requests[0], top_p=0.0)
    assert small.generate([narrow])[0].token_ids == small.generate([greedy])[0].token_ids
    small.generate([replace(requests[0], seed=None)])


def track_blocks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of all blocks alive, noted whenever one is made; none may move to a larger buffer."""
    live: list[weakref.ref[Block]] = []
    sizes: list[int] = []
    real = Block.__init__

    def noted(block: Block, decoder: Decoder, rows: int, capacity: int) -> None:
        real(block, decoder, rows, capacity)
        live.append(weakref.ref(block))
        blocks = [ref() for ref in live]
        sizes.append(sum(one.cache.untyped_storage().nbytes() for one in blocks if one is not None))

    monkeypatch.setattr(Block, "__init__", noted)
    monkeypatch.setattr(Block, "grow", None)
    return sizes


def test_a_batch_beyond_the_kv_budget_runs_in_portions_and_gives_the_same_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = golden_backbone("llava-v1.5-7b-m3")
    requests = [replace(request, max_new_tokens=1 + 7 * n) for n, request in enumerate(mixed(free, 16))]
    expected = free.generate(requests)
    one = free.decoder.kv_bytes(1)
    needed = [answer.prompt_tokens + 7 * n for n, answer in enumerate(expected)]
    for slots in (max(needed), 2500):
        model = load_backbone(GOLDEN / "llava-v1.5-7b-m3", vision_tower=CLIP, kv_budget_bytes=slots * one)
        with monkeypatch.context() as patch:
            sizes = track_blocks(patch)
            answers = model.generate(requests)
        assert [answer.token_ids for answer in answers] == [answer.token_ids for answer in expected]
        assert slots * one // 2 < max(sizes) <= slots * one
        assert len(sizes) > 3
    largest = needed.index(max(needed))
    model = load_backbone(
        GOLDEN / "llava-v1.5-7b-m3", vision_tower=CLIP, kv_budget_bytes=(max(needed) - 1) * one
    )
    results = model.generate_each(requests)
    refused = results.pop(largest)
    assert isinstance(refused, KvBudgetExceeded)
    assert f"{max(needed) * one} bytes, the budget is {(max(needed) - 1) * one}" in str(refused)
    assert [r.token_ids for r in results if isinstance(r, Generation)] == [
        answer.token_ids for n, answer in enumerate(expected) if n != largest
    ]


def test_tokens_of_portions_are_streamed_and_cancelled_like_others(small: M3Model) -> None:
    image = small.encode_image(picture())
    requests = [GenerationRequest((words(3, n),), ((image, (1, 9, 36)[n % 3]),), 6) for n in range(6)]
    expected = small.generate(requests)
    model = M3Model(small.checkpoint, small.tokenizer, "m3_tiny", kv_budget_bytes=small.decoder.kv_bytes(80))
    seen: dict[int, list[int | None]] = {n: [] for n in range(6)}
    results = model.generate_each(
        requests, lambda n, event: seen[n].append(event.token_id), lambda n: n == 4 and len(seen[4]) == 2
    )
    for n, (result, wanted) in enumerate(zip(results, expected, strict=True)):
        assert isinstance(result, Generation)
        assert result.token_ids == tuple(seen[n]) == wanted.token_ids[: 2 if n == 4 else None]


def test_the_text_before_the_image_is_computed_once_for_all_scales_and_images() -> None:
    backbone = golden_backbone("llava-v1.5-7b-m3")
    images = backbone.encode_images([picture(seed) for seed in range(2)])
    questions = [["What is it?", "How many are there?"], ["Where?"]]
    requests = [
        GenerationRequest((question,), ((image, scale),), max_new_tokens=6)
        for image, asked in zip(images, questions, strict=True)
        for question in asked
        for scale in LADDER
    ]
    prompts = [backbone.prompt(request.turns, 1) for request in requests]
    head = len(prompts[0].chunks[0])
    passed: list[int] = []

    class Counting(Decoder):
        def forward(self, steps: Sequence[Step]) -> torch.Tensor:
            passed.extend(step.hidden.shape[0] for step in steps)
            return super().forward(steps)

    alone = singles(backbone, requests)
    real = backbone.decoder
    backbone.decoder = Counting(real.model)
    try:
        together = backbone.answer_many(images, LADDER, questions, 6)
    finally:
        backbone.decoder = real
    found = [answer for asked in together for by_scale in asked for answer in by_scale]
    for answer, wanted in zip(found, alone, strict=True):
        assert answer.token_ids == wanted.token_ids
        assert answer.logprobs == pytest.approx(wanted.logprobs, abs=1e-4)
    decoded = sum(len(answer.token_ids) - 1 for answer in alone)
    own = sum(len(prompt.chunks[1]) for prompt in prompts)
    assert head > 30
    assert sum(passed) == head + 2 * sum(LADDER) + own + decoded
