"""Sizes in a config.json, looked at before modules are built of them. Torch-free.

What torch says about a size that is none does not name the key.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from m3_backbone.types import CheckpointError

_COUNTS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "num_channels",
    "image_size",
    "patch_size",
)
_POSITIVE = ("rms_norm_eps", "layer_norm_eps", "rope_theta")


def check_sizes(values: Mapping[str, Any], where: str) -> None:
    """Raises `CheckpointError` naming the key and the value of what cannot be a size.

    A key that is absent or null has the architecture's default. where: "config.json", or the tower's.
    """
    for key in _COUNTS:
        value = values.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise CheckpointError(f"{where}: {key} is {value!r}, not a positive integer.")
    for key in _POSITIVE:
        value = values.get(key)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and 0 < value < math.inf):
            raise CheckpointError(f"{where}: {key} is {value!r}, not a positive number.")
    width, heads = values.get("hidden_size"), values.get("num_attention_heads")
    if width and heads and not values.get("head_dim") and width % heads:
        raise CheckpointError(
            f"{where}: hidden_size is {width}, which num_attention_heads, {heads}, does not divide."
        )
    shared = values.get("num_key_value_heads")
    if heads and shared and heads % shared:
        raise CheckpointError(
            f"{where}: num_attention_heads is {heads}, which num_key_value_heads, {shared}, does not divide."
        )
