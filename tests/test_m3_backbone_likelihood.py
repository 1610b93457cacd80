"""How likely a given answer is: as the model says of its own, and as its logits say of any."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from m3_backbone.group import CHUNK_TOKENS
from m3_backbone.loading import load_backbone
from m3_backbone.model import M3Model
from m3_backbone.types import GenerationRequest
from tests.backbones import picture, write_checkpoint


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> M3Model:
    return load_backbone(write_checkpoint(tmp_path_factory.mktemp("small")))


def requests(model: M3Model, n: int = 9) -> list[GenerationRequest]:
    """Of all scales, about two pictures, and one about none."""
    images = [model.encode_image(picture(seed)) for seed in (0, 1)]
    asked = [
        GenerationRequest((f"What is {i}?",), ((images[i % 2], model.ladder.scales[i % 3]),), 1 + i % 5)
        for i in range(n)
    ]
    return [*asked, GenerationRequest(("What is two and two?",), max_new_tokens=4)]


def test_of_its_own_answers_it_is_what_the_model_said_of_them(small: M3Model) -> None:
    asked = requests(small)
    answers = small.generate(asked)
    found = small.answer_logprobs(asked, [answer.token_ids for answer in answers])
    for answer, logprobs in zip(answers, found, strict=True):
        assert logprobs == pytest.approx(answer.logprobs, abs=1e-4)


def test_of_any_other_answer_it_is_what_the_logits_say(small: M3Model) -> None:
    (request, *_) = requests(small)
    answer = [17, 300, 2]
    (found,) = small.answer_logprobs([request], [answer])
    prompt, _ = small.hand_over(request)
    ids = torch.tensor(answer)
    # The answer as if the prompt ended with it, one token after the other.
    for place in range(len(answer)):
        hidden = torch.cat((prompt, small.decoder.embed(ids[:place])))
        rest = small.model.language_model(inputs_embeds=hidden[None]).logits[0, -1]
        assert found[place] == pytest.approx(float(rest.log_softmax(-1)[answer[place]]), abs=1e-4)
    (alone,) = small.answer_logprobs([request], [answer[:1]])
    assert alone == pytest.approx(found[:1], abs=1e-4)


def test_more_prompts_than_go_through_at_once_are_answered_in_order(small: M3Model) -> None:
    asked = requests(small, 200)
    assert sum(request.visual_tokens for request in asked) > CHUNK_TOKENS
    answers = [[3 + i % 600, 5] for i in range(len(asked))]
    together = small.answer_logprobs(asked, answers)
    for i in (0, 57, 199, 200):
        (alone,) = small.answer_logprobs([asked[i]], [answers[i]])
        np.testing.assert_allclose(together[i], alone, atol=1e-4)


def test_an_answer_without_a_token_is_refused(small: M3Model) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        small.answer_logprobs(requests(small, 1), [[4], []])
    assert small.answer_logprobs([], []) == []
