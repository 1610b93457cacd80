"""The cost model against the paper's figures and against sums written out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from m3_backbone.cost import Architecture

# arXiv 2405.17430, table 9: LLaVA-1.5-7B, 30 text tokens; TFLOPs as printed, to one decimal.
PAPER_PREFILL_TFLOPS = {576: 8.0, 144: 2.2, 36: 0.9, 9: 0.5, 1: 0.4}

LLAVA_CONFIG: dict[str, Any] = {
    "model_type": "llava_llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32000,
    "mm_vision_select_layer": -2,
    "mm_projector_type": "mlp2x_gelu",
}
CLIP_CONFIG: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "patch_size": 14,
    "image_size": 336,
}
SMALL = Architecture(
    hidden=8,
    intermediate=12,
    layers=2,
    heads=2,
    kv_heads=1,
    head_dim=4,
    vocabulary=10,
    tower_hidden=6,
    tower_intermediate=5,
    tower_layers=3,
    tower_patches=4,
    tower_patch_side=2,
)


@pytest.mark.parametrize(("scale", "tflops"), PAPER_PREFILL_TFLOPS.items())
def test_prefill_matches_the_paper_within_a_tenth(scale: int, tflops: float) -> None:
    assert Architecture.llava_7b().prefill_flops(scale + 30) / 1e12 == pytest.approx(tflops, rel=0.1)


def test_clip_large_costs_its_published_forward_pass() -> None:
    # CLIP ViT-L/14-336 is given as 191 GMACs with all 24 layers; 23 are run, and the projector is 0.02 T.
    arch = replace(Architecture.llava_7b(), projector_layers=0)
    assert arch.tower_flops(1) / 2e9 == pytest.approx(191 * 23 / 24, rel=0.05)


def test_prefill_is_the_sum_of_its_matrices() -> None:
    n = 7
    qo = 2 * (2 * n * 8 * 8)
    kv = 2 * (2 * n * 8 * 4)
    attention = 2 * (2 * n * n * 8)
    mlp = 3 * (2 * n * 8 * 12)
    assert SMALL.prefill_flops(n) == 2 * (qo + kv + attention + mlp) + 2 * 8 * 10


def test_tower_is_the_sum_of_its_matrices() -> None:
    n = 5  # 4 patches and CLS
    layer = 4 * (2 * n * 6 * 6) + 2 * (2 * n * n * 6) + 2 * (2 * n * 6 * 5)
    projector = 2 * 4 * 6 * 8 + 2 * 4 * 8 * 8
    assert SMALL.tower_flops(1) == 2 * 4 * 12 * 6 + 3 * layer + projector
    assert SMALL.tower_flops(5) == 5 * SMALL.tower_flops(1)
    assert SMALL.tower_flops(0) == 0


def test_decoding_step_by_step_costs_what_the_closed_form_says() -> None:
    def step(context: int) -> int:
        """One token that attends to ``context`` tokens, itself included."""
        return SMALL.prefill_flops(1) + SMALL._attention_flops(context - 1)

    assert SMALL.decode_flops(20, 4) == step(21) + step(22) + step(23)


def test_a_single_new_token_needs_no_decoding_step() -> None:
    assert SMALL.decode_flops(20, 1) == 0
    assert SMALL.decode_flops(20, 0) == 0


def test_the_whole_path_adds_tower_prefill_and_decoding() -> None:
    arch = Architecture.llava_7b()
    total = arch.request_flops(views=5, visual_tokens=344, text_tokens=30, new_tokens=8)
    assert total == arch.tower_flops(5) + arch.prefill_flops(374) + arch.decode_flops(374, 8)


def test_a_request_without_images_has_no_tower_cost() -> None:
    arch = Architecture.llava_7b()
    assert arch.request_flops(0, 0, 30, 1) == arch.prefill_flops(30)


def test_kv_cache_of_llava_7b_is_half_a_mebibyte_a_token() -> None:
    assert Architecture.llava_7b().kv_bytes(1) == 2**19
    assert Architecture.llava_7b().kv_bytes(606, bytes_per_value=4) == 606 * 2**20


def test_config_files_give_the_same_sizes_as_the_named_architecture() -> None:
    assert Architecture.from_config(LLAVA_CONFIG, CLIP_CONFIG) == Architecture.llava_7b()
    assert Architecture.from_config(LLAVA_CONFIG, {"vision_config": CLIP_CONFIG}) == Architecture.llava_7b()
    transformers = {"text_config": LLAVA_CONFIG, "vision_feature_layer": -2}
    assert Architecture.from_config(transformers, CLIP_CONFIG) == Architecture.llava_7b()


def test_grouped_queries_and_head_width_are_read_when_present() -> None:
    arch = Architecture.from_config({**LLAVA_CONFIG, "num_key_value_heads": 8, "head_dim": 64}, CLIP_CONFIG)
    assert (arch.kv_heads, arch.head_dim) == (8, 64)
    default = Architecture.from_config({**LLAVA_CONFIG, "num_key_value_heads": None}, CLIP_CONFIG)
    assert default.kv_heads == default.heads


@pytest.mark.parametrize(("select", "layers"), [(-1, 24), (-2, 23), (12, 12), (0, 0)])
def test_only_layers_up_to_the_selected_one_are_counted(select: int, layers: int) -> None:
    arch = Architecture.from_config({**LLAVA_CONFIG, "mm_vision_select_layer": select}, CLIP_CONFIG)
    assert arch.tower_layers == layers


@pytest.mark.parametrize(
    ("kind", "layers"), [("identity", 0), ("linear", 1), ("mlp2x_gelu", 2), ("mlp3x_gelu", 3)]
)
def test_projector_types_have_their_number_of_layers(kind: str, layers: int) -> None:
    arch = Architecture.from_config({**LLAVA_CONFIG, "mm_projector_type": kind}, CLIP_CONFIG)
    assert arch.projector_layers == layers


@pytest.mark.parametrize(
    ("change", "tower_change", "message"),
    [
        ({"hidden_size": None}, {}, "hidden_size must be a positive integer, got None"),
        ({"num_hidden_layers": 0}, {}, "num_hidden_layers must be a positive integer, got 0"),
        ({"vocab_size": "32000"}, {}, "vocab_size must be a positive integer, got '32000'"),
        ({"mm_projector_type": "resampler"}, {}, "mm_projector_type 'resampler' is not known"),
        ({"mm_vision_select_layer": -30}, {}, "mm_vision_select_layer -30 is no layer"),
        ({}, {"image_size": 335}, "image_size 335 of the vision tower is no multiple of its patch_size 14"),
    ],
)
def test_unusable_configs_are_refused_by_name_and_value(
    change: dict[str, Any], tower_change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture.from_config({**LLAVA_CONFIG, **change}, {**CLIP_CONFIG, **tower_change})
