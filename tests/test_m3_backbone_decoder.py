"""The forward pass over blocks: how often it runs, what it never reads, and whose angles it uses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from m3_backbone import GenerationRequest, load_backbone
from m3_backbone.decoder import Decoder
from m3_backbone.model import M3Model
from m3_backbone.slots import Block, Step
from tests.backbones import picture, write_checkpoint

NEW = 4


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> M3Model:
    return load_backbone(write_checkpoint(tmp_path_factory.mktemp("small") / "m3"))


@pytest.fixture
def passes(small: M3Model, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tokens of every forward pass."""
    tokens: list[int] = []

    class Counting(Decoder):
        def forward(self, steps: Sequence[Step]) -> torch.Tensor:
            tokens.append(sum(step.hidden.shape[0] for step in steps))
            return super().forward(steps)

    monkeypatch.setattr(small, "decoder", Counting(small.decoder.model))
    monkeypatch.setattr(small, "stop_ids", frozenset())
    return tokens


def test_a_request_alone_takes_one_pass_for_its_prompt_and_one_per_further_token(
    small: M3Model, passes: list[int]
) -> None:
    (answer,) = small.generate([GenerationRequest(("What?",), ((small.encode_image(picture()), 36),), NEW)])
    assert passes == [answer.prompt_tokens] + [1] * (NEW - 1)


def test_prompts_of_all_lengths_share_passes(small: M3Model, passes: list[int]) -> None:
    requests = [
        GenerationRequest(("word " * n,), ((small.encode_image(picture(n)), scale),), NEW)
        for n, scale in ((1, 1), (20, 1), (3, 9), (9, 36), (2, 36))
    ]
    answers = small.generate(requests)
    assert passes == [sum(answer.prompt_tokens for answer in answers)] + [5] * (NEW - 1)


def test_what_was_in_the_cache_before_is_never_seen(small: M3Model, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [small.encode_image(picture(seed)) for seed in range(3)]
    requests = [
        GenerationRequest((text,), ((image, scale),), NEW + place)
        for place, image in enumerate(images)
        for scale in small.ladder
        for text in ("a", "which of these is it", "word " * 20)[: 1 + place]
    ]
    requests.append(GenerationRequest(("word " * 30,), (), NEW))
    expected = small.generate(requests)
    real = Block.__init__

    def spoilt(block: Block, decoder: Decoder, rows: int, capacity: int) -> None:
        real(block, decoder, rows, capacity)
        block.cache.fill_(float("nan"))

    monkeypatch.setattr(Block, "__init__", spoilt)
    assert small.generate(requests) == expected
    assert [small.generate([request])[0].token_ids for request in requests] == [a.token_ids for a in expected]


@pytest.mark.parametrize(
    "scaling",
    [
        {"type": "linear", "factor": 2.0},
        {"rope_type": "dynamic", "factor": 2.0},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
    ],
    ids=["linear", "dynamic", "yarn"],
)
def test_every_kind_of_position_is_transformers_own(tmp_path: Path, scaling: dict[str, Any]) -> None:
    model = load_backbone(write_checkpoint(tmp_path / "m3", rope_scaling=scaling))
    request = GenerationRequest(("What is two and two? " * 4,), max_new_tokens=6)
    model.stop_ids = frozenset()
    (answer,) = model.generate([request])
    ids = list(model.prompt(request.turns, 0).input_ids())
    for token in answer.token_ids:
        with torch.inference_mode():
            logits = model.model.language_model(input_ids=torch.tensor([ids])).logits[0, -1]
        assert int(logits.argmax()) == token
        ids.append(token)
