"""Checkpoints for tests: the golden ones, and small random ones written on the spot."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from m3_backbone.checkpoint import build_modules, save_checkpoint
from m3_backbone.loading import load_backbone
from m3_backbone.model import M3Model
from m3_backbone.modules import M3Modules

GOLDEN = Path(__file__).parent / "golden" / "m3"
CLIP = GOLDEN / "openai" / "clip-vit-large-patch14-336"
TOKENIZER = GOLDEN / "llava-v1.5-7b-m3" / "tokenizer.model"
LADDER = (1, 9, 36, 144, 576)

TOWER_CONFIG: dict[str, Any] = {
    "model_type": "clip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 48,
    "patch_size": 8,
    "hidden_act": "quick_gelu",
}
PREPROCESSOR: dict[str, Any] = {
    "size": {"shortest_edge": 48},
    "crop_size": {"height": 48, "width": 48},
    "resample": 3,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.3, 0.3, 0.2],
}
CONFIG: dict[str, Any] = {
    "model_type": "llava_llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 640,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "initializer_range": 0.3,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "image_aspect_ratio": "pad",
    "mm_hidden_size": 32,
    "mm_projector_type": "mlp2x_gelu",
    "mm_vision_select_layer": -2,
    "mm_vision_tower": "vision_tower",
    "matryoshka_vis_token_scale": [1, 9, 36],
    "m3_conversation": "m3_tiny",
}


def golden_cases() -> list[dict[str, Any]]:
    """What the reference did, one entry per case."""
    cases: list[dict[str, Any]] = json.loads((GOLDEN / "index.json").read_text(encoding="utf-8"))
    return cases


def golden_arrays(case: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
    with np.load(GOLDEN / f"{case['id']}.npz") as file:
        return dict(file)


@lru_cache(maxsize=4)
def golden_backbone(name: str, dtype: str = "float32") -> M3Model:
    return load_backbone(GOLDEN / name, dtype=dtype, vision_tower=CLIP)


def random_modules(**changes: Any) -> M3Modules:
    torch.manual_seed(0)
    return build_modules(CONFIG | changes, TOWER_CONFIG)


def write_checkpoint(folder: Path, *, shard_bytes: int | None = None, **changes: Any) -> Path:
    """A small random checkpoint in the official layout, in float32."""
    save_checkpoint(
        folder,
        random_modules(**changes),
        CONFIG | changes,
        tower_config=TOWER_CONFIG,
        preprocessor=PREPROCESSOR,
        tokenizer_model=TOKENIZER,
        dtype=torch.float32,
        max_shard_bytes=shard_bytes,
    )
    return folder


def picture(seed: int = 0, size: tuple[int, int] = (60, 40)) -> Image.Image:
    """Random coarse blocks: unlike noise, they differ from scale to scale."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.BILINEAR)
