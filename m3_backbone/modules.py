"""The torch modules of M3 and their official names: CLIP tower, projector, Llama.

Built from transformers' classes, with random weights (for training) or on the meta device (for loading).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM
from transformers.activations import ACT2FN

from m3_backbone.config import M3Config
from m3_backbone.sizes import check_sizes
from m3_backbone.types import CheckpointError

_TOWER = "model.vision_tower.vision_tower.vision_model."
_LLAMA_KEYS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "max_position_embeddings",
    "initializer_range",
    "rms_norm_eps",
    "attention_bias",
    "mlp_bias",
    "bos_token_id",
    "eos_token_id",
    "tie_word_embeddings",
)
_CLIP_KEYS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_channels",
    "image_size",
    "patch_size",
    "hidden_act",
    "layer_norm_eps",
    "initializer_range",
    "initializer_factor",
)


class M3Modules(nn.Module):
    """Tower, projector and language model, side by side.

    tower: all its layers, as stored; `drop_unused_layers` removes what M3 never runs.
    image_newline: [hidden], only where ``mm_patch_merge_type`` has "unpad".
    """

    def __init__(
        self,
        tower: CLIPVisionModel,
        projector: nn.Sequential,
        language_model: LlamaForCausalLM,
        image_newline: nn.Parameter | None,
        select_layer: int,
    ) -> None:
        super().__init__()
        self.tower = tower
        self.projector = projector
        self.language_model = language_model
        self.image_newline = image_newline
        self.select_layer = select_layer

    @property
    def tower_core(self) -> nn.Module:
        """The part of the tower that holds embeddings and encoder, in any transformers 5."""
        return cast(nn.Module, getattr(self.tower, "vision_model", self.tower))

    @property
    def layers_run(self) -> int:
        """Tower layers whose output M3 needs: hidden state 0 is the input of the first layer."""
        states = int(self.tower.config.num_hidden_layers) + 1
        index = self.select_layer if self.select_layer >= 0 else states + self.select_layer
        assert 0 <= index < states
        return index

    def patch_features(self, pixels: Tensor) -> Tensor:
        """``[views, 3, size, size]`` -> ``[views, patches, tower hidden]``: selected layer, no CLS.

        Differentiable; runs no layer beyond the selected one.
        """
        core: Any = self.tower_core
        # CUDA rounds convolutions of float32 to TF32 unless told not to: 1e-3 off, where 1e-4 is asked.
        flags: Any = torch.backends.cudnn.flags
        with flags(enabled=True, allow_tf32=False):
            embedded = core.embeddings(pixels)
        hidden = core.pre_layrnorm(embedded)
        for layer in core.encoder.layers[: self.layers_run]:
            hidden = layer(hidden, attention_mask=None)
        return cast(Tensor, hidden[:, 1:])

    def project(self, features: Tensor) -> Tensor:
        """``[..., tower hidden]`` -> ``[..., hidden]``; M3 pools after this."""
        return cast(Tensor, self.projector(features))

    def drop_unused_layers(self) -> None:
        """Frees the tower layers beyond the selected one, and the post layer norm."""
        core: Any = self.tower_core
        core.encoder.layers = core.encoder.layers[: self.layers_run]
        core.post_layernorm = nn.Identity()


def build_modules(config: Mapping[str, Any] | M3Config, tower_config: Mapping[str, Any]) -> M3Modules:
    """Modules with fresh random weights (seed torch before), as ``config.json`` and the tower's say.

    config: the checkpoint's config.json (official keys). tower_config: the tower folder's config.json,
    a whole CLIP's (with ``vision_config``) or the vision part alone.
    Raises `CheckpointError` for a projector type or sizes that M3 does not have.
    """
    parsed = config if isinstance(config, M3Config) else M3Config.parse(config)
    vision = vision_config(tower_config)
    llama = llama_config(parsed.raw)
    side, rest = divmod(int(vision.image_size), int(vision.patch_size))
    if rest or side * side != parsed.ladder.full:
        plain = "" if parsed.names_scales else " config.json names no scales: name a ladder for this grid."
        raise CheckpointError(
            f"The tower makes a grid of {side} x {side} patches (image {vision.image_size}, patch "
            f"{vision.patch_size}) but the ladder's largest scale is {parsed.ladder.full}.{plain}"
        )
    declared = parsed.raw.get("mm_hidden_size", vision.hidden_size)
    if declared != vision.hidden_size:
        raise CheckpointError(f"mm_hidden_size is {declared}, but the tower's is {vision.hidden_size}.")
    states = int(vision.num_hidden_layers) + 1
    if not -states <= parsed.select_layer < states:
        raise CheckpointError(
            f"mm_vision_select_layer is {parsed.select_layer}, but the tower has {states - 1} layers."
        )
    vision._attn_implementation = "sdpa"
    llama._attn_implementation = "sdpa"
    hidden = int(llama.hidden_size)
    newline = None
    if "unpad" in parsed.merge:
        newline = nn.Parameter(torch.randn(hidden) / hidden**0.5)
    return M3Modules(
        CLIPVisionModel(vision),
        build_projector(parsed.projector, int(vision.hidden_size), hidden),
        LlamaForCausalLM(llama),
        newline,
        parsed.select_layer,
    )


def build_projector(kind: str, inner: int, outer: int) -> nn.Sequential:
    """``mlpNx_gelu`` (N Linears with exact GELU between); raises `CheckpointError` for any other."""
    match = re.fullmatch(r"mlp(\d+)x_gelu", kind)
    if match is None or int(match[1]) < 1:
        raise CheckpointError(f"mm_projector_type is {kind!r}; M3's is 'mlp2x_gelu'.")
    layers: list[nn.Module] = [nn.Linear(inner, outer)]
    for _ in range(int(match[1]) - 1):
        layers += [nn.GELU(), nn.Linear(outer, outer)]
    return nn.Sequential(*layers)


def llama_config(config: Mapping[str, Any]) -> LlamaConfig:
    """Llama's part of the config; the rotary keys of transformers 4 are translated."""
    check_sizes(config, "config.json")
    theta = config.get("rope_theta")
    rope: dict[str, Any] = {
        "rope_type": "default",
        "rope_theta": 10000.0 if theta is None else float(theta),
    }
    scaling = config.get("rope_scaling") or config.get("rope_parameters")
    if isinstance(scaling, Mapping):
        rope |= {("rope_type" if key == "type" else key): value for key, value in scaling.items()}
    values = {key: config[key] for key in _LLAMA_KEYS if config.get(key) is not None}
    try:
        made = LlamaConfig(**values, pad_token_id=None, rope_parameters=rope)
    except Exception as error:  # transformers' validators have kinds of their own
        raise CheckpointError(f"config.json: {_reason(error)}") from error
    _check_activation(made.hidden_act, "config.json")
    return made


def vision_config(tower_config: Mapping[str, Any]) -> CLIPVisionConfig:
    """The vision part of a CLIP config."""
    part = tower_config.get("vision_config", tower_config)
    if not isinstance(part, Mapping) or part.get("model_type") not in ("clip_vision_model", "clip", None):
        raise CheckpointError("The tower's config.json is not a CLIP vision config.")
    check_sizes(part, "The tower's config.json")
    try:
        made = CLIPVisionConfig(**{key: part[key] for key in _CLIP_KEYS if part.get(key) is not None})
    except Exception as error:  # transformers' validators have kinds of their own
        raise CheckpointError(f"The tower's config.json: {_reason(error)}") from error
    _check_activation(made.hidden_act, "The tower's config.json")
    return made


def _check_activation(name: object, where: str) -> None:
    if name not in ACT2FN:
        raise CheckpointError(f"{where}: hidden_act is {name!r}, which transformers does not know.")


def _reason(error: Exception) -> str:
    """The last line of what a validator says: the key, and what is wrong with its value."""
    return str(error).strip().splitlines()[-1].strip() if str(error) else type(error).__name__


def official_names(modules: M3Modules) -> dict[str, str]:
    """Name in an official LLaVA-M3 checkpoint -> name in ``modules.state_dict()``."""
    rules: tuple[tuple[str, Callable[[str], str]], ...] = (
        ("tower.", lambda rest: _TOWER + rest.removeprefix("vision_model.")),
        ("projector.", lambda rest: "model.mm_projector." + rest),
        ("language_model.", lambda rest: rest),
        ("image_newline", lambda rest: "model.image_newline"),
    )
    names = {}
    for key in modules.state_dict():
        prefix, rename = next(rule for rule in rules if key.startswith(rule[0]))
        names[rename(key.removeprefix(prefix))] = key
    if modules.language_model.config.tie_word_embeddings:
        names.pop("lm_head.weight", None)
    return names
