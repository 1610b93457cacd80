"""A recipe of seconds, a tokenizer for it and random models in its shape."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from data.scalebench import corpus
from m3_backbone.checkpoint import build_modules, save_checkpoint
from m3_backbone.loading import load_backbone
from m3_backbone.model import M3Model
from m3_backbone.modules import M3Modules
from m3_backbone.tokenizer import Tokenizer
from training.backbone.recipe import PREPROCESSOR, Recipe
from training.backbone.tokenizer import train_tokenizer

SECOND = 1 / 60

RECIPE = Recipe(
    images=12,
    val_images=3,
    workers=1,
    vocabulary=640,
    tower_width=32,
    tower_layers=3,
    tower_heads=2,
    hidden=32,
    layers=2,
    heads=2,
    intermediate=48,
    minutes_tower=SECOND,
    minutes_phase1=SECOND,
    minutes_phase2=SECOND,
    crop=4,
    crops=4,
    whole=1,
    questions=2,
    look_ups=1,
    descriptions=1,
    step_images=2,
    micro_tokens=900,
    exam_pictures=2,
    threads=1,
    compile=False,
)


@cache
def tokenizer_model() -> bytes:
    """A tokenizer.model of few lines."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.model"
        train_tokenizer(islice(corpus(), 120), path, vocabulary=RECIPE.vocabulary, split_digits=False)
        return path.read_bytes()


def tokenizer() -> Tokenizer:
    return Tokenizer(tokenizer_model(), legacy=False)


def random_modules(initial: float = 0.15) -> M3Modules:
    """Weights large enough that attention and place matter, at bfloat16's precision."""
    torch.manual_seed(3)
    config = RECIPE.config() | {"initializer_range": initial}
    tower = RECIPE.tower_config()
    tower["vision_config"] = tower["vision_config"] | {"initializer_factor": 3.0}
    return build_modules(config, tower).to(torch.bfloat16).requires_grad_(False)


def served(folder: Path, modules: M3Modules) -> M3Model:
    """The same weights as inference has them: exported and loaded in float32."""
    (folder / "tokenizer.model").write_bytes(tokenizer_model())
    save_checkpoint(
        folder / "checkpoint",
        modules,
        RECIPE.config(),
        tower_config=RECIPE.tower_config(),
        preprocessor=PREPROCESSOR,
        tokenizer_model=folder / "tokenizer.model",
    )
    return load_backbone(folder / "checkpoint")


@contextmanager
def machine_as_it_was() -> Iterator[None]:
    """A run sets torch's threads and denormals for its process; this gives them back."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)


def recipe(**changes: Any) -> Recipe:
    return replace(RECIPE, **changes)
