"""Held to the reference: pixels bit for bit, visual tokens and logits within 1e-4, greedy ids equal."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from m3_backbone import GenerationRequest
from m3_backbone.preprocess import preprocess
from tests.backbones import GOLDEN, LADDER, golden_arrays, golden_backbone, golden_cases

CASES = golden_cases()
each_case = pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])


@each_case
def test_pixels_equal_the_reference_bit_for_bit(case: dict[str, Any]) -> None:
    backbone = golden_backbone(case["checkpoint"])
    with Image.open(GOLDEN / case["image"]) as image:
        views = preprocess(image, backbone.config, backbone.checkpoint.conditioning)
    assert hashlib.sha256(views.pixels.tobytes()).hexdigest() == case["pixels_sha256"]


@each_case
def test_prompt_ids_equal_the_reference(case: dict[str, Any]) -> None:
    backbone = golden_backbone(case["checkpoint"])
    assert backbone.prompt(case["turns"], 1).input_ids() == case["input_ids"]


@each_case
def test_tokens_logits_and_greedy_ids_equal_the_reference_at_every_scale(case: dict[str, Any]) -> None:
    backbone = golden_backbone(case["checkpoint"])
    arrays = golden_arrays(case)
    with Image.open(GOLDEN / case["image"]) as image:
        encoded = backbone.encode_image(image)
    for scale in LADDER:
        expected = case["per_scale"][str(scale)]
        tokens = encoded.tokens(scale).numpy()
        assert len(tokens) == encoded.n_tokens(scale) == expected["n_visual_tokens"]
        if f"visual_tokens_{scale}" in arrays:
            np.testing.assert_allclose(tokens, arrays[f"visual_tokens_{scale}"], atol=1e-4, rtol=0)
        request = GenerationRequest(tuple(case["turns"]), ((encoded, scale),), max_new_tokens=16)
        logits = backbone.prefill_logits(request).numpy()
        np.testing.assert_allclose(logits[-1], arrays[f"logits_last_{scale}"], atol=1e-4, rtol=0)
        if f"logits_all_{scale}" in arrays:
            np.testing.assert_allclose(logits, arrays[f"logits_all_{scale}"], atol=1e-4, rtol=0)
        (answer,) = backbone.generate([request])
        assert list(answer.token_ids) == expected["greedy_ids"]
        assert answer.text == expected["text"]
        assert answer.prompt_tokens == len(case["input_ids"]) - 1 + expected["n_visual_tokens"]


def test_the_grid_is_the_projected_features_and_anyres_keeps_the_order_of_tokens() -> None:
    square, wide = CASES[0], next(case for case in CASES if case["id"] == "n00_next_wide")
    with Image.open(GOLDEN / square["image"]) as image:
        grid = golden_backbone(square["checkpoint"]).encode_image(image).grid
    rows = golden_arrays(square)["projected_rows"]
    np.testing.assert_allclose(grid.flatten(0, 2)[::48].numpy(), rows, atol=1e-4, rtol=0)
    with Image.open(GOLDEN / wide["image"]) as image:
        encoded = golden_backbone(wide["checkpoint"]).encode_image(image)
    picked = golden_arrays(wide)["visual_tokens_576_every_16th"]
    np.testing.assert_allclose(encoded.tokens(576)[::16].numpy(), picked, atol=1e-4, rtol=0)
    assert [encoded.n_tokens(scale) for scale in LADDER] == [4, 16, 88, 344, 1360]


def test_all_golden_cases_in_one_batch_give_the_same_ids() -> None:
    cases = [case for case in CASES if case["checkpoint"] == "llava-v1.5-7b-m3"]
    backbone = golden_backbone("llava-v1.5-7b-m3")
    requests, expected = [], []
    for case in cases:
        with Image.open(GOLDEN / case["image"]) as image:
            encoded = backbone.encode_image(image)
        for scale in LADDER:
            requests.append(GenerationRequest(tuple(case["turns"]), ((encoded, scale),), 16))
            expected.append(case["per_scale"][str(scale)]["greedy_ids"])
    assert [list(answer.token_ids) for answer in backbone.generate(requests)] == expected
