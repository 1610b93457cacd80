"""What flows between the rooms: checked when made, never changed."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError

import pytest

from m3_backbone.fake import FakeRunner
from m3_backbone.types import (
    Capacity,
    CheckpointError,
    DeadlineExceeded,
    EncodedImage,
    EngineError,
    EngineUnavailable,
    Generation,
    GenerationRequest,
    Health,
    OutOfMemory,
    PromptTooLong,
    QueueFull,
)
from tests.engine_talk import picture


def generation(*logprobs: float) -> Generation:
    return Generation("a", tuple(range(len(logprobs))), logprobs, 0.5, "stop", 10, 9)


@pytest.mark.parametrize("turns", [(), ("a", "b"), ("a", "b", "c", "d")])
def test_turns_end_with_the_user(turns: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=f"turns must alternate user, .*; got {len(turns)} texts"):
        GenerationRequest(turns)


@pytest.mark.parametrize("count", [0, -1])
def test_at_least_one_new_token_is_asked_for(count: int) -> None:
    with pytest.raises(ValueError, match=f"max_new_tokens must be at least 1, got {count}"):
        GenerationRequest(("a",), max_new_tokens=count)


def test_visual_tokens_of_a_request_are_those_of_all_images_and_views() -> None:
    one, five = FakeRunner().encode(picture()), FakeRunner(views=5).encode(picture())
    assert GenerationRequest(("a",)).visual_tokens == 0
    assert GenerationRequest(("a",), ((one, 9), (five, 144))).visual_tokens == 9 + 5 * 144


def test_a_fake_image_is_an_encoded_image() -> None:
    assert isinstance(FakeRunner().encode(picture()), EncodedImage)
    assert not isinstance(picture(), EncodedImage)


def test_confidence_is_the_mean_and_the_least_of_the_tokens() -> None:
    assert math.isclose(generation(-0.1, -0.3).mean_logprob, -0.2)
    assert generation(-0.1, -0.3).min_logprob == -0.3
    assert generation().mean_logprob == generation().min_logprob == 0.0


def test_what_flows_is_frozen() -> None:
    for value, name in (
        (GenerationRequest(("a",)), "turns"),
        (generation(), "text"),
        (Capacity(1, 1, 1), "batch_size"),
        (Health(True), "ready"),
    ):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, None)


def test_every_fault_of_one_request_is_an_engine_error() -> None:
    for fault in (QueueFull, DeadlineExceeded, EngineUnavailable, OutOfMemory, PromptTooLong):
        assert issubclass(fault, EngineError)
    assert issubclass(PromptTooLong, ValueError)
    assert issubclass(CheckpointError, ValueError)
    assert not issubclass(CheckpointError, EngineError)
