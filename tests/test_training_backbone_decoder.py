"""What training computes on packed blocks is what inference computes on one question alone."""

from __future__ import annotations

import pytest
import torch

from data.scalebench import picture
from m3_backbone import GenerationRequest
from m3_backbone.model import M3Model
from m3_backbone.modules import M3Modules
from m3_backbone.types import EncodedImage
from tests.training_backbone import RECIPE, random_modules, served, tokenizer
from training.backbone.decoder import Decoder, pool
from training.backbone.kernels import Kernels
from training.backbone.recipe import SCALES
from training.backbone.sequences import Blocks, collate

QUESTIONS = (
    ("What colour is the background?", "red"),
    ("How many shapes are there?", "12"),
    ("Where?", "top"),
)


@pytest.fixture(scope="module")
def modules() -> M3Modules:
    return random_modules()


@pytest.fixture(scope="module")
def model(modules: M3Modules, tmp_path_factory: pytest.TempPathFactory) -> M3Model:
    return served(tmp_path_factory.mktemp("served"), modules)


@pytest.fixture(scope="module")
def images(model: M3Model) -> list[EncodedImage]:
    return [model.encode_image(picture("dev", index).image) for index in (0, 1)]


def grid(images: list[EncodedImage]) -> torch.Tensor:
    return torch.stack([torch.as_tensor(image.tokens(SCALES[-1])) for image in images])


def first_logits(modules: M3Modules, images: list[EncodedImage], scale: int) -> torch.Tensor:
    """[images, questions, vocabulary]: logits of the first answer token, all questions packed."""
    blocks = Blocks(tokenizer())
    decoder = Decoder(modules, Kernels(compiled=False), RECIPE.context)
    batch = collate([[blocks.block(*one) for one in QUESTIONS] for _ in images])
    visual = pool(grid(images), scale).to(torch.bfloat16)
    with torch.no_grad():
        logits = decoder.logits(decoder.prefix(blocks.prefix, visual), batch)
    firsts = [batch.group.tolist().index(block) for block in range(len(images) * len(QUESTIONS))]
    return logits[firsts].view(len(images), len(QUESTIONS), -1)


@pytest.mark.parametrize("scale", SCALES)
def test_pooling_is_inferences_pooling(images: list[EncodedImage], scale: int) -> None:
    found = pool(grid(images), scale)
    for one, image in zip(found, images, strict=True):
        torch.testing.assert_close(one, image.tokens(scale), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("scale", SCALES)
def test_packed_questions_get_the_logits_of_each_question_alone(
    modules: M3Modules, model: M3Model, images: list[EncodedImage], scale: int
) -> None:
    found = first_logits(modules, images, scale)
    expected = torch.stack(
        [
            torch.stack(
                [model.prefill_logits(GenerationRequest((q,), ((image, scale),)))[-1] for q, _ in QUESTIONS]
            )
            for image in images
        ]
    )
    spread = float(expected.std())
    error = (found - expected).abs()
    assert float(error.mean()) < 0.02 * spread
    assert float(error.max()) < 0.15 * spread
    # The same comparison sees a wrong question and a wrong image.
    for other in (expected.roll(1, 1), expected.roll(1, 0)):
        assert float((found - other).abs().mean()) > 1.2 * float(error.mean())


def test_the_gradient_reaches_projector_and_language_model() -> None:
    modules = random_modules().requires_grad_(True)
    blocks = Blocks(tokenizer())
    decoder = Decoder(modules, Kernels(compiled=False), RECIPE.context)
    features = torch.randn(1, 576, RECIPE.tower_width, dtype=torch.bfloat16)
    batch = collate([[blocks.block(*one) for one in QUESTIONS]])
    visual = pool(modules.project(features), 9)
    logits = decoder.logits(decoder.prefix(blocks.prefix, visual), batch)
    torch.nn.functional.cross_entropy(logits, batch.targets).backward()  # type: ignore[no-untyped-call]
    without = [
        name
        for name, value in modules.named_parameters()
        if name.startswith(("projector.", "language_model.")) and (value.grad is None or not value.grad.any())
    ]
    assert without == []
