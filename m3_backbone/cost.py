"""What a request costs, from an architecture's sizes: FLOPs, KV-cache bytes.

One multiply-accumulate is 2 FLOPs. Counted: patch embedding, attention projections, attention scores and
their weighted sum over **all** pairs of tokens (dense kernels compute them; a causal kernel saves at most
half of that term), MLPs, projector, the vocabulary layer where logits are needed. Not counted: norms,
activations, softmax, rotary embedding, pooling, look-ups and the router - together well under 1%.

`Architecture.llava_7b` reproduces the prefill figures of the M3 paper (arXiv 2405.17430, table 9).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of a vision tower, a projector and a Llama-style language model.

    tower_layers: layers that are run, up to the one whose features are selected (23 of CLIP-L's 24).
    tower_patches: patches of one view, and tokens of the unpooled grid (576 for CLIP-L/14-336).
    projector_layers: linear layers of the projector, the first from the tower's to the model's width.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tower_hidden: int
    tower_intermediate: int
    tower_layers: int
    tower_patches: int
    tower_patch_side: int
    projector_layers: int = 2

    @classmethod
    def llava_7b(cls) -> Architecture:
        """LLaVA-1.5-7B and LLaVA-1.5-7B-M3: Vicuna-7B behind CLIP-L/14-336."""
        return cls(
            hidden=4096,
            intermediate=11008,
            layers=32,
            heads=32,
            kv_heads=32,
            head_dim=128,
            vocabulary=32000,
            tower_hidden=1024,
            tower_intermediate=4096,
            tower_layers=23,
            tower_patches=576,
            tower_patch_side=14,
        )

    @classmethod
    def from_config(cls, config: Mapping[str, Any], tower_config: Mapping[str, Any]) -> Architecture:
        """Sizes from a LLaVA ``config.json`` and from the tower's.

        ``config`` may be LLaVA's own (type llava_llama) or transformers' (with ``text_config``);
        ``tower_config`` CLIP's whole config or its ``vision_config``. Raises ValueError for a size that
        is absent, not a positive integer, or not consistent with the others.
        """
        model = config.get("text_config", config)
        tower = tower_config.get("vision_config", tower_config)
        hidden = _size(model, "hidden_size")
        heads = _size(model, "num_attention_heads")
        patch = _size(tower, "patch_size")
        side = _size(tower, "image_size")
        if side % patch:
            raise ValueError(
                f"image_size {side} of the vision tower is no multiple of its patch_size {patch}."
            )
        return cls(
            hidden=hidden,
            intermediate=_size(model, "intermediate_size"),
            layers=_size(model, "num_hidden_layers"),
            heads=heads,
            kv_heads=_size(model, "num_key_value_heads", heads),
            head_dim=_size(model, "head_dim", hidden // heads),
            vocabulary=_size(model, "vocab_size"),
            tower_hidden=_size(tower, "hidden_size"),
            tower_intermediate=_size(tower, "intermediate_size"),
            tower_layers=_layers_run(config, _size(tower, "num_hidden_layers")),
            tower_patches=(side // patch) ** 2,
            tower_patch_side=patch,
            projector_layers=_projector_layers(config.get("mm_projector_type", "mlp2x_gelu")),
        )

    def tower_flops(self, views: int) -> int:
        """Vision tower and projector for ``views`` views: the cost floor, the same at every scale."""
        width, patches = self.tower_hidden, self.tower_patches
        n = patches + 1  # CLS
        embedding = 2 * patches * 3 * self.tower_patch_side**2 * width
        layer = 8 * n * width**2 + 4 * n * width * self.tower_intermediate + 4 * n**2 * width
        projector = 0
        if self.projector_layers:
            projector = 2 * patches * self.hidden * (width + (self.projector_layers - 1) * self.hidden)
        return views * (embedding + self.tower_layers * layer + projector)

    def prefill_flops(self, n_tokens: int) -> int:
        """Language model over a prompt of ``n_tokens`` (visual and text), logits at its last position."""
        return self._forward_flops(n_tokens, n_tokens) + (self._head_flops if n_tokens else 0)

    def decode_flops(self, prompt_tokens: int, new_tokens: int) -> int:
        """Steps after the prefill until ``new_tokens`` are out. The first one comes out of the prefill."""
        steps = max(0, new_tokens - 1)
        # Step i attends to prompt_tokens + i tokens, i = 1 .. steps.
        attended = steps * prompt_tokens + steps * (steps + 1) // 2
        return self._forward_flops(steps, 0) + self._attention_flops(attended) + steps * self._head_flops

    def request_flops(self, views: int, visual_tokens: int, text_tokens: int, new_tokens: int) -> int:
        """The whole path of one request: tower, projector, prefill, decoding.

        visual_tokens: of all views together at the scale in question; text_tokens: the prompt's others.
        """
        prompt = visual_tokens + text_tokens
        return self.tower_flops(views) + self.prefill_flops(prompt) + self.decode_flops(prompt, new_tokens)

    def kv_bytes(self, n_tokens: int, bytes_per_value: int = 2) -> int:
        """Bytes of keys and values cached for ``n_tokens`` (2 bytes a value: fp16, bf16)."""
        return 2 * self.layers * self.kv_heads * self.head_dim * bytes_per_value * n_tokens

    @property
    def _head_flops(self) -> int:
        return 2 * self.hidden * self.vocabulary

    def _attention_flops(self, pairs: int) -> int:
        """Scores and weighted sums of ``pairs`` (query, key) pairs in all layers."""
        return 4 * pairs * self.heads * self.head_dim * self.layers

    def _forward_flops(self, n_tokens: int, attended: int) -> int:
        """All layers over ``n_tokens`` that each attend to ``attended`` tokens; gated MLP as in Llama."""
        projections = 4 * self.hidden * self.head_dim * (self.heads + self.kv_heads)
        mlp = 6 * self.hidden * self.intermediate
        return n_tokens * self.layers * (projections + mlp) + self._attention_flops(n_tokens * attended)


def _size(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = config.get(key)
    if value is None:
        value = default
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"config.json: {key} must be a positive integer, got {value!r}.")
    return value


def _layers_run(config: Mapping[str, Any], layers: int) -> int:
    """Layers of the tower up to the selected hidden state; hidden state 0 is the embedding."""
    select = config.get("mm_vision_select_layer", config.get("vision_feature_layer", -2))
    if isinstance(select, bool) or not isinstance(select, int) or not -layers - 1 <= select <= layers:
        raise ValueError(
            f"config.json: mm_vision_select_layer {select!r} is no layer of a tower of {layers}."
        )
    return select if select >= 0 else layers + 1 + select


def _projector_layers(kind: object) -> int:
    """Linear layers of LLaVA's projector types: identity, linear, mlp{n}x_gelu."""
    fixed = {"identity": 0, "linear": 1}
    if isinstance(kind, str):
        if kind in fixed:
            return fixed[kind]
        if match := re.fullmatch(r"mlp(\d+)x_gelu", kind):
            return int(match[1])
    raise ValueError(f"config.json: mm_projector_type {kind!r} is not known: identity, linear or mlpNx_gelu.")
