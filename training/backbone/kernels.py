"""The element-wise parts of the training forwards, fused by torch.compile where a C++ compiler is at hand.

On CPU these are bound by memory: unfused they take longer than the matrix products.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

log = logging.getLogger(__name__)


def _rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """As LlamaRMSNorm: statistics in float32."""
    wide = x.float()
    scaled = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return weight * scaled.to(x.dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x [B, T, h, d] with cos, sin [B or 1, T, 1, d]: Llama's rotary embedding."""
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


def _gated(gate: Tensor, up: Tensor) -> Tensor:
    return F.silu(gate) * up


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def _masked_softmax(scores: Tensor, mask: Tensor, scale: float) -> Tensor:
    """scores [B, h, T, S], additive mask [B, 1, T, S]."""
    return torch.softmax(scores.float() * scale + mask, -1).to(scores.dtype)


def _layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, (x.shape[-1],), weight, bias, eps)


class Kernels:
    """``Kernels(compiled=False)`` is the plain version; results agree to bfloat16's precision."""

    def __init__(self, *, compiled: bool) -> None:
        if compiled and shutil.which("g++") is None and shutil.which("clang++") is None:
            log.warning(
                "no C++ compiler: element-wise kernels are not fused, the run learns less in its time"
            )
            compiled = False

        def maybe(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
            if not compiled:
                return function
            made: Any = torch.compile(function, dynamic=True)
            return made  # type: ignore[no-any-return]

        self.rms_norm = maybe(_rms_norm)
        self.rotate = maybe(_rotate)
        self.gated = maybe(_gated)
        self.quick_gelu = maybe(_quick_gelu)
        self.masked_softmax = maybe(_masked_softmax)
        self.layer_norm = _layer_norm
