from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from m3_backbone import Generation, GenerationRequest, PromptTooLong, load_backbone
from m3_backbone.model import M3Model
from m3_backbone.types import TokenEvent
from tests.backbones import LADDER, golden_backbone, picture, write_checkpoint

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
