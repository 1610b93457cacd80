"""Both sides over one set of weights: a checkpoint's, or random ones of a known architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from m3_backbone import embedded_path
from m3_backbone.checkpoint import Checkpoint, load_checkpoint
from m3_backbone.config import Conditioning, M3Config
from m3_backbone.model import DTYPES, M3Model
from m3_backbone.modules import build_modules
from m3_backbone.tokenizer import Tokenizer
from training.backbone.recipe import PREPROCESSOR
from training.bench.equality import BenchError
from training.bench.reference import Ask, Reference, whole_tower

_CLIP_L: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
_LLAVA_7B: dict[str, Any] = {
    "model_type": "llava_llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "image_aspect_ratio": "pad",
    "mm_hidden_size": 1024,
    "mm_projector_type": "mlp2x_gelu",
    "mm_vision_select_layer": -2,
    "mm_vision_tower": "random",
    "matryoshka_vis_token_scale": [1, 9, 36, 144, 576],
}
ARCHITECTURES = {"llava-7b": (_LLAVA_7B, _CLIP_L)}
"""Name -> (config.json, the tower's config.json)."""


@dataclass(frozen=True)
class Sides:
    """Ours and the reference, sharing weights. prompt: name of the conversation template."""

    backbone: M3Model
    reference: Reference
    prompt: str

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Sides:
        tower = whole_tower(checkpoint.modules)
        prompt = checkpoint.config.template
        backbone = M3Model(checkpoint, Tokenizer.load(checkpoint.folder), prompt)
        return cls(backbone, Reference(backbone, tower), prompt)


def load(path: str | Path, *, dtype: str, device: str, vision_tower: str | Path | None = None) -> Sides:
    """From a checkpoint folder, a hub name, or the embedded checkpoint (``"tiny"``)."""
    if str(path) == "tiny" and not Path(path).is_dir():
        path = embedded_path()
    return Sides.of(load_checkpoint(path, dtype=_dtype(dtype), device=device, vision_tower=vision_tower))


def random(
    architecture: str | tuple[Mapping[str, Any], Mapping[str, Any]],
    *,
    dtype: str,
    device: str,
    tokenizer: Path | None = None,
    preprocessor: Mapping[str, Any] = PREPROCESSOR,
    seed: int = 0,
) -> Sides:
    """Random weights, made where they stay: nothing is downloaded, and answers mean nothing.

    architecture: a name of `ARCHITECTURES`, or two configs. tokenizer: folder of the tokenizer; m3-tiny's.
    """
    name = architecture if isinstance(architecture, str) else "random"
    if isinstance(architecture, str):
        if architecture not in ARCHITECTURES:
            raise BenchError(f"--random {architecture!r} is not known. Known: {', '.join(ARCHITECTURES)}.")
        architecture = ARCHITECTURES[architecture]
    config = M3Config.parse(architecture[0])
    before = torch.get_default_dtype()
    torch.set_default_dtype(_dtype(dtype))
    try:
        torch.manual_seed(seed)
        with torch.device(device):
            modules = build_modules(config, architecture[1])
    finally:
        torch.set_default_dtype(before)
    checkpoint = Checkpoint(
        name=f"{name}, random weights",
        folder=tokenizer or embedded_path(),
        config=config,
        conditioning=Conditioning.parse(preprocessor, "preprocessor_config.json"),
        modules=modules.requires_grad_(False).eval(),
        fingerprint=f"random-{seed}",
    )
    return Sides.of(checkpoint)


def request_cost(sides: Sides, ask: Ask, new_tokens: int) -> tuple[int, int]:
    """(visual tokens, FLOPs of the whole path) as the cost model has them."""
    backbone = sides.backbone
    image = backbone.encode_image(ask.picture)
    visual = image.n_tokens(ask.scale)
    text = backbone.prompt((ask.question,), 1).text_tokens
    return visual, backbone.flops(
        views=image.views, visual_tokens=visual, text_tokens=text, new_tokens=new_tokens
    )


def _dtype(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise BenchError(f"dtype {name!r} is not known. Known: {', '.join(DTYPES)}.")
    return DTYPES[name]
