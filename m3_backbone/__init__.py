"""The frozen model. Importing this package imports no torch; the torch parts load when first used."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m3_backbone.scales import Ladder, ScaleError
from m3_backbone.types import (
    CheckpointError,
    EncodedImage,
    Engine,
    EngineError,
    Generation,
    GenerationRequest,
    PromptTooLong,
    RouteInputs,
    TokenEvent,
)

if TYPE_CHECKING:
    from m3_backbone.loading import load_backbone
    from m3_backbone.model import M3Model
    from m3_backbone.torch_runner import torch_engine

__all__ = [
    "CheckpointError",
    "EncodedImage",
    "Engine",
    "EngineError",
    "Generation",
    "GenerationRequest",
    "Ladder",
    "M3Model",
    "PromptTooLong",
    "RouteInputs",
    "ScaleError",
    "TokenEvent",
    "embedded_path",
    "load_backbone",
    "torch_engine",
]

_TORCH = {"load_backbone": "loading", "M3Model": "model", "torch_engine": "torch_runner"}


def embedded_path() -> Path:
    """Folder of m3-tiny, the checkpoint that comes with this package."""
    return Path(__file__).resolve().parent / "tiny"


def __getattr__(name: str) -> Any:
    if name not in _TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_TORCH[name]}"), name)
