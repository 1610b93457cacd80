"""The same code on every device and in every dtype: on the CPU here, on CUDA with ``pytest -m gpu``."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from m3_backbone import GenerationRequest, load_backbone
from m3_backbone.devices import DeviceError, require_device
from m3_backbone.model import M3Model
from m3_backbone.pooling import REDUCERS
from tests.backbones import CLIP, GOLDEN, LADDER, golden_arrays, golden_cases, picture

on_each_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
in_half = pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
PLAIN, ANYRES = "llava-v1.5-7b-m3", "llava-next-vicuna-7b-m3"


@lru_cache(maxsize=8)
def backbone(device: str, name: str = PLAIN, dtype: str = "float32") -> M3Model:
    return load_backbone(GOLDEN / name, dtype=dtype, device=device, vision_tower=CLIP)


def requests(model: M3Model, new: int = 8) -> list[GenerationRequest]:
    """All scales, two images, several questions about each, one with both images, one with none."""
    one, two = model.encode_images([picture(1, (90, 60)), picture(2, (40, 70))])
    questions = ("What is it?", "How many dogs are in this picture?", "Where is the red square?")
    asked = [
        GenerationRequest((question,), ((image, scale),), max_new_tokens=1 + (7 * n) % new)
        for n, (question, image, scale) in enumerate(itertools.product(questions, (one, two), LADDER))
    ]
    asked.append(GenerationRequest(("Which?",), ((one, 9), (two, 144)), max_new_tokens=new))
    asked.append(GenerationRequest(("What is two and two?",), max_new_tokens=new))
    return asked


def ids(model: M3Model, asked: Sequence[GenerationRequest]) -> list[tuple[int, ...]]:
    return [answer.token_ids for answer in model.generate(asked)]


@on_each_device
@pytest.mark.parametrize("case", golden_cases(), ids=lambda case: str(case["id"]))
def test_the_reference_is_met_on_every_device(device: str, case: dict[str, Any]) -> None:
    model = backbone(device, case["checkpoint"])
    with Image.open(GOLDEN / case["image"]) as image:
        encoded = model.encode_image(image)
    arrays = golden_arrays(case)
    assert encoded.grid.device.type == device
    asked = [GenerationRequest(tuple(case["turns"]), ((encoded, scale),), 16) for scale in LADDER]
    for request, scale in zip(asked, LADDER, strict=True):
        last = model.prefill_logits(request)[-1].cpu().numpy()
        np.testing.assert_allclose(last, arrays[f"logits_last_{scale}"], atol=1e-4, rtol=0)
    assert [list(found) for found in ids(model, asked)] == [
        case["per_scale"][str(scale)]["greedy_ids"] for scale in LADDER
    ]


@on_each_device
@pytest.mark.parametrize("name", [PLAIN, ANYRES])
def test_a_mixed_batch_equals_single_runs_on_every_device(device: str, name: str) -> None:
    model = backbone(device, name)
    asked = requests(model)
    assert ids(model, asked) == [found for request in asked for found in ids(model, [request])]


@on_each_device
@in_half
def test_in_half_precision_batches_answer_about_as_single_runs_do(device: str, dtype: str) -> None:
    """Sums are rounded in another order: ids may differ where two tokens are nearly equal."""
    model = backbone(device, dtype=dtype)
    asked = requests(model)
    together = model.generate(asked)
    alone = [answer for request in asked for answer in model.generate([request])]
    assert model.decoder.kv_bytes(1) * 2 == backbone(device).decoder.kv_bytes(1)
    for found, wanted in zip(together, alone, strict=True):
        assert np.isfinite(found.logprobs).all()
        if wanted.first_margin > 0.02:
            assert found.token_ids[0] == wanted.token_ids[0]
            assert found.logprobs[0] == pytest.approx(wanted.logprobs[0], abs=0.1)


@on_each_device
@in_half
def test_half_precision_stays_near_float32_at_every_scale(device: str, dtype: str) -> None:
    exact, half = backbone(device), backbone(device, dtype=dtype)
    assert half.dtype == getattr(torch, dtype)
    images = [model.encode_image(picture(3)) for model in (exact, half)]
    for scale in LADDER:
        logits = [
            model.prefill_logits(GenerationRequest(("What is shown?",), ((image, scale),)))
            for model, image in zip((exact, half), images, strict=True)
        ]
        assert logits[1].dtype == torch.float32
        agreement = torch.cosine_similarity(logits[0].flatten(), logits[1].flatten(), dim=0)
        assert float(agreement) > 0.995
    summaries = [
        model.summarise(image, "What is shown?") for model, image in zip((exact, half), images, strict=True)
    ]
    np.testing.assert_allclose(summaries[1].grid_stats, summaries[0].grid_stats, atol=0.1, rtol=0.1)


@on_each_device
def test_route_inputs_are_the_cpus_on_every_device(device: str) -> None:
    inputs = [
        model.summarise(model.encode_image(picture(4)), "What is it?")
        for model in (backbone("cpu"), backbone(device))
    ]
    for name in ("grid_stats", "pooled", "question", "interaction"):
        expected, found = (getattr(one, name) for one in inputs)
        np.testing.assert_allclose(found, expected, atol=2e-3, rtol=2e-3)


@on_each_device
def test_a_kv_budget_gives_the_same_answers_on_every_device(device: str) -> None:
    free = backbone(device)
    asked = requests(free)
    budget = free.decoder.kv_bytes(900)
    model = load_backbone(GOLDEN / PLAIN, device=device, vision_tower=CLIP, kv_budget_bytes=budget)
    assert ids(model, asked) == ids(free, asked)


@on_each_device
@pytest.mark.parametrize("reducer", sorted(REDUCERS))
@pytest.mark.parametrize("name", [PLAIN, ANYRES])
def test_every_reducer_gives_as_many_tokens_and_answers(device: str, name: str, reducer: str) -> None:
    model = load_backbone(GOLDEN / name, device=device, vision_tower=CLIP, reducer=reducer)
    image, averaged = (one.encode_image(picture(5, (640, 200))) for one in (model, backbone(device, name)))
    for scale in LADDER:
        assert image.n_tokens(scale) == averaged.n_tokens(scale) == len(image.tokens(scale))
        same = torch.equal(image.tokens(scale), averaged.tokens(scale))
        assert same == (reducer == "average" or scale == LADDER[-1])
    asked = [GenerationRequest(("What?",), ((image, scale),), max_new_tokens=2) for scale in LADDER[:3]]
    assert [len(found) for found in ids(model, asked)] == [2, 2, 2]


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_for_cuda_the_answers_are_the_same() -> None:
    plain = backbone("cuda")
    model = load_backbone(GOLDEN / PLAIN, device="cuda", vision_tower=CLIP, compiled=True)
    assert ids(model, requests(model)) == ids(plain, requests(plain))


@pytest.mark.gpu
@in_half
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_for_cuda_in_half_precision_logits_stay_near_the_plain_ones(dtype: str) -> None:
    plain = backbone("cuda", dtype=dtype)
    model = load_backbone(GOLDEN / PLAIN, dtype=dtype, device="cuda", vision_tower=CLIP, compiled=True)
    for found, wanted in zip(requests(model), requests(plain), strict=True):
        ours, theirs = model.prefill_logits(found).flatten(), plain.prefill_logits(wanted).flatten()
        assert float(torch.cosine_similarity(ours, theirs, dim=0)) > 0.995
    assert all(np.isfinite(answer.logprobs).all() for answer in model.generate(requests(model)))


@pytest.mark.gpu
def test_on_cuda_the_kv_cache_that_is_allocated_is_what_was_budgeted() -> None:
    budget = backbone("cuda").decoder.kv_bytes(900)
    model = load_backbone(GOLDEN / PLAIN, device="cuda", vision_tower=CLIP, kv_budget_bytes=budget)
    asked = requests(model)
    model.generate(asked)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    model.generate(asked)
    layers_and_logits = 64 * 2**20  # activations of these small models
    assert torch.cuda.max_memory_allocated() - before < budget + layers_and_logits


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "meta", "cpu:many"])
def test_a_device_that_cannot_be_used_is_refused_before_anything_is_fetched_or_read(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def local_folder(path: object) -> None:
        raise AssertionError("a checkpoint was looked for")

    monkeypatch.setattr("m3_backbone.loading.local_folder", local_folder)
    with pytest.raises(DeviceError, match=f"^device '{device}' cannot be used: ") as caught:
        load_backbone("mucai/llava-v1.5-7b-m3", device=device)
    assert "Traceback" not in str(caught.value)
    with pytest.raises(AssertionError, match="a checkpoint was looked for"):
        load_backbone("mucai/llava-v1.5-7b-m3", device="cpu:0")


@pytest.mark.parametrize(
    ("cuda", "count", "remedy"),
    [
        (None, 0, r"pip install .*cu130 torch==\d+\.\d+\.\d+`, or take cpu"),
        ("13.0", 0, "torch sees no GPU"),
        ("13.0", 2, r"This machine has 2 of them, counted from cuda:0"),
    ],
)
def test_what_keeps_a_gpu_from_being_used_is_told_with_its_remedy(
    cuda: str | None, count: int, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(DeviceError, match=remedy):
        require_device("cuda:99")


def test_convolutions_of_float32_are_not_rounded_to_tf32_on_any_device() -> None:
    model = backbone("cpu")
    seen: list[bool] = []
    core: Any = model.model.tower_core
    hook = core.embeddings.register_forward_pre_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    try:
        model.encode_image(picture())
    finally:
        hook.remove()
    assert seen == [False]
    assert not torch.backends.cuda.matmul.allow_tf32
