"""torch.compile as an option: the work between matrix products is fused; answers agree to rounding.

Compiled are the parts whose shapes vary in one dimension alone (tokens or views): a layer of the tower, the
projector, and the two halves of a decoder layer around its attention. The first requests pay for it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import nn

from m3_backbone.modules import M3Modules

P = ParamSpec("P")
R = TypeVar("R")


def require_compiler(device: torch.device) -> None:
    """Raises ValueError where torch.compile would find nothing to compile with."""
    if device.type == "cpu" and shutil.which("g++") is None and shutil.which("clang++") is None:
        raise ValueError(
            "compiled is True, but there is no C++ compiler (g++ or clang++) for the CPU: install one, or "
            "leave it False."
        )


def maybe_compiled(function: Callable[P, R], compiled: bool) -> Callable[P, R]:
    """``function`` itself, or compiled for any number of tokens."""
    return cast(Callable[P, R], torch.compile(function, dynamic=True)) if compiled else function


def compile_vision(modules: M3Modules) -> None:
    """Compiles, in place, what encodes images."""
    core: Any = modules.tower_core
    parts: list[nn.Module] = [*core.encoder.layers[: modules.layers_run], modules.projector]
    for part in parts:
        part.compile(dynamic=True)
