"""The frozen tower's penultimate patch features of every picture, computed once and memory-mapped."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from m3_backbone.modules import M3Modules
from training.backbone.kernels import Kernels
from training.backbone.pictures import PictureStore
from training.backbone.progress import Interrupted, Stop
from training.backbone.recipe import GRID, Recipe
from training.backbone.vision import Vision, cut, places

log = logging.getLogger(__name__)

_BATCH = 8


def open_features(folder: Path, count: int, width: int) -> Tensor:
    """bfloat16 [count, 576, width], mapped, not read; raises FileNotFoundError before they are complete."""
    if not (folder / "features.done").exists():
        raise FileNotFoundError(f"{folder} holds no features: run the stage 'features' first.")
    return _mapped(folder, count, width, "r+")


def _mapped(folder: Path, count: int, width: int, mode: Any) -> Tensor:
    shape = (count, GRID * GRID, width)
    raw = np.memmap(folder / "features.bf16", np.int16, mode, shape=shape)
    return torch.from_numpy(raw).view(torch.bfloat16)


@torch.no_grad()
def extract(folder: Path, modules: M3Modules, recipe: Recipe, kernels: Kernels, stop: Stop) -> None:
    """Features of ``folder``'s pictures beside them; goes on where an earlier run stopped."""
    done_mark, row_mark = folder / "features.done", folder / "features.rows"
    if done_mark.exists():
        return
    store = PictureStore.open(folder)
    first = int(row_mark.read_text()) if row_mark.exists() else 0
    features = _mapped(folder, len(store), recipe.tower_width, "r+" if first else "w+")
    vision = Vision(modules, recipe.conditioning(), kernels)
    where = torch.from_numpy(places(0, 0, GRID))
    start = said = time.monotonic()
    for at in range(first, len(store), _BATCH):
        pixels = store.pixels[at : at + _BATCH]
        patches = torch.from_numpy(np.stack([cut(image, 0, 0, GRID) for image in pixels]))
        features[at : at + len(pixels)] = vision(patches, where.expand(len(pixels), -1))
        now, made = time.monotonic(), at + len(pixels)
        if stop.asked or now - said > 15 or made == len(store):
            row_mark.write_text(str(made))
            said, rate = now, (made - first) / (now - start)
            left = (len(store) - made) / rate
            log.info("features %d of %d, %.0f/s, %.0f s left", made, len(store), rate, left)
        if stop.asked:
            raise Interrupted(f"stopped in the features stage at picture {made}")
    done_mark.write_text("")
