"""Pre-trains the CLIP tower on crops with dense labels: what is in each patch, and where the patch is.

Without the row and column heads the features keep no trace of place, and no question about place can be
learned from them. The heads are thrown away afterwards; the last tower layer is never run (M3 reads the
penultimate one).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m3_backbone.modules import M3Modules
from training.backbone.kernels import Kernels
from training.backbone.mixed import MixedOptimiser
from training.backbone.pictures import PictureStore
from training.backbone.progress import Clock, Every, Interrupted, Stop, rate_at, record, restore, save
from training.backbone.recipe import GRID, Recipe
from training.backbone.start import start_tower
from training.backbone.vision import Vision, cut, places

log = logging.getLogger(__name__)

_NO_NOTHING = ("background", "start")  # heads whose class 0 is not "nothing here"
_WEIGHTS = {"word": 2.0, "start": 0.5, "background": 0.3, "row": 0.3, "column": 0.3}  # of the heads; else 1


class Heads(nn.Module):
    """One linear layer for all dense heads, with row and column."""

    def __init__(self, width: int, classes: Mapping[str, int]) -> None:
        super().__init__()
        self.sizes = dict(classes) | {"row": GRID, "column": GRID}
        self.linear = nn.Linear(width, sum(self.sizes.values()))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """[B, P, width] -> head -> [B, P, classes]."""
        return dict(zip(self.sizes, self.linear(features).split(list(self.sizes.values()), -1), strict=True))


class TowerAndHeads(nn.Module):
    def __init__(self, tower: nn.Module, heads: Heads) -> None:
        super().__init__()
        self.tower, self.heads = tower, heads


def place_patches(modules: M3Modules, amplitude: float = 0.5) -> None:
    """Starts the position embeddings as sines and cosines of row and column.

    From random ones, "the patch to the right" has to be learned for each of 576 places apart; from these it
    is one linear map for all of them.
    """
    table = modules.tower_core.get_parameter("embeddings.position_embedding.weight")
    width = table.shape[1] // 4
    frequencies = torch.pi / GRID * torch.logspace(0, 1, width, base=GRID)
    axis = torch.arange(GRID)[:, None] * frequencies
    waves = torch.cat((axis.sin(), axis.cos()), 1)
    rows = waves[:, None].expand(-1, GRID, -1).flatten(0, 1)
    columns = waves[None].expand(GRID, -1, -1).flatten(0, 1)
    with torch.no_grad():
        table[1:] = amplitude * torch.cat((rows, columns), 1)


class Crops:
    """Random crops of a store's pictures."""

    def __init__(self, store: PictureStore, seed: int, text_share: float = 0.0) -> None:
        self._store = store
        self._text_share = text_share
        self.rng = np.random.default_rng(seed)

    def draw(self, count: int, side: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """patches uint8 [count, side^2, 588], places int64 [count, side^2], head -> classes int64."""
        rng, store = self.rng, self._store
        indices = rng.integers(len(store), size=count)
        corners = rng.integers(GRID - side + 1, size=(count, 2))
        if side < GRID:
            for k in np.flatnonzero(rng.random(count) < self._text_share):
                written = np.argwhere(store.labels["word"][indices[k]] > 0)
                if len(written):
                    corner = written[rng.integers(len(written))] - rng.integers(side, size=2)
                    corners[k] = np.clip(corner, 0, GRID - side)
        crops = list(zip(indices, corners[:, 0], corners[:, 1], strict=True))
        patches = np.stack([cut(store.pixels[i], row, column, side) for i, row, column in crops])
        where = np.stack([places(row, column, side) for _, row, column in crops])
        classes = {
            head: np.stack([grid[i, r : r + side, c : c + side].reshape(-1) for i, r, c in crops])
            for head, grid in store.labels.items()
        }
        targets = {head: torch.from_numpy(values.astype(np.int64)) for head, values in classes.items()}
        targets |= {"row": torch.from_numpy(where // GRID), "column": torch.from_numpy(where % GRID)}
        return torch.from_numpy(patches), torch.from_numpy(where), targets


def dense_loss(logits: dict[str, Tensor], targets: dict[str, Tensor], none_weight: float) -> Tensor:
    """Weighted sum over heads of the cross-entropy; "nothing here" counts ``none_weight``, -1 nothing."""
    losses = []
    for head, values in logits.items():
        weight = None
        if head not in (*_NO_NOTHING, "row", "column"):
            weight = torch.ones(values.shape[-1])
            weight[0] = none_weight
        flat, target = values.float().flatten(0, 1), targets[head].flatten()
        loss = F.cross_entropy(flat, target, weight=weight, ignore_index=-1)
        if torch.isfinite(loss):
            losses.append(_WEIGHTS.get(head, 1.0) * loss)
    return torch.stack(losses).sum()


@torch.no_grad()
def dense_accuracy(
    vision: Vision, heads: Heads, store: PictureStore, side: int, count: int
) -> dict[str, float]:
    """Head -> share of scored patches right, those without anything left out."""
    crops = Crops(store, seed=1)
    right: dict[str, int] = dict.fromkeys(heads.sizes, 0)
    scored: dict[str, int] = dict.fromkeys(heads.sizes, 0)
    for _ in range(0, count, 32):
        patches, where, targets = crops.draw(min(32, count), side)
        for head, values in heads(vision(patches, where)).items():
            least = 0 if head in (*_NO_NOTHING, "row", "column") else 1
            mask = targets[head] >= least
            right[head] += int(((values.argmax(-1) == targets[head]) & mask).sum())
            scored[head] += int(mask.sum())
    return {head: round(right[head] / max(1, scored[head]), 4) for head in right}


def tower_names(modules: M3Modules) -> list[str]:
    """Parameters of the tower that are trained: not the layers that never run."""
    core: Any = modules.tower_core
    unused = {
        id(parameter)
        for part in (*core.encoder.layers[modules.layers_run :], core.post_layernorm)
        for parameter in part.parameters()
    }
    return [name for name, value in modules.tower.named_parameters() if id(value) not in unused]


def _is_hidden_matrix(name: str, weight: Tensor) -> bool:
    """Muon is for the matrices of the layers; embeddings and heads stay with AdamW."""
    return weight.ndim == 2 and ".layers." in name


def train_tower(
    run: Path, modules: M3Modules, recipe: Recipe, kernels: Kernels, dtype: torch.dtype, stop: Stop
) -> None:
    """Trains for ``recipe.minutes_tower``; leaves its weights in tower.pt. Resumes from there."""
    from data.scalebench import LABELS

    path = run / "tower.pt"
    store, held_out = PictureStore.open(run / "train"), PictureStore.open(run / "val")
    heads = Heads(recipe.tower_width, LABELS)
    if recipe.start:
        start_tower(modules, recipe, run)
    else:
        place_patches(modules)
    model = TowerAndHeads(modules.tower, heads)
    names = [f"tower.{name}" for name in tower_names(modules)] + ["heads.linear.weight", "heads.linear.bias"]
    optimiser = MixedOptimiser(
        model,
        names,
        weight_decay=recipe.weight_decay,
        clip=recipe.clip,
        dtype=dtype,
        muon=[name for name in names if _is_hidden_matrix(name, model.get_parameter(name))],
        muon_factor=recipe.muon_factor,
    )
    vision = Vision(modules, recipe.conditioning(), kernels)
    state = restore(path)
    step, consumed = 0, 0.0
    if state is not None:
        optimiser.load(state["optimiser"])
        step, consumed = state["step"], state["consumed"]
        if state["done"]:
            return
    clock = Clock(recipe.minutes_tower * 60, consumed)
    crops = Crops(store, recipe.seed + 1_000_003 * step + 17, recipe.text_share)
    tell, keep = Every(20), Every(recipe.checkpoint_seconds)
    told, running = (step, clock.consumed), 0.0

    def checkpoint(done: bool) -> None:
        save(path, {"optimiser": optimiser.state(), "step": step, "consumed": clock.consumed, "done": done})

    while clock.share < 1.0:
        whole = clock.share >= recipe.whole_from
        side, count = (GRID, recipe.whole) if whole else (recipe.crop, recipe.crops)
        patches, where, targets = crops.draw(count, side)
        # New heads would first pull a tower that sees already wherever their random weights point.
        alone = bool(recipe.start) and clock.share < recipe.heads_alone
        with torch.set_grad_enabled(not alone):
            features = vision(patches, where)
        loss = dense_loss(heads(features), targets, recipe.none_weight)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.collect()
        peak = recipe.tower_rate * recipe.rate_share
        rate = rate_at(clock.share, peak=peak, warm_up=recipe.warm_up, final=recipe.final_rate)
        optimiser.step(rate)
        step += 1
        now = float(loss.detach())
        running = now if running == 0.0 else 0.97 * running + 0.03 * now
        if stop.asked:
            checkpoint(done=False)
            raise Interrupted(f"stopped in the tower stage at step {step}")
        if tell.due():
            speed = (step - told[0]) / (clock.consumed - told[1])
            accuracy = dense_accuracy(vision, heads, held_out, side, 32 if whole else 192)
            _tell(run, step, running, speed, side, accuracy, clock)
            told = (step, clock.consumed)
        if keep.due():
            checkpoint(done=False)
    accuracy = dense_accuracy(vision, heads, held_out, GRID, 96)
    _tell(run, step, running, 0.0, GRID, accuracy, clock)
    checkpoint(done=True)


def _tell(
    run: Path, step: int, loss: float, speed: float, side: int, accuracy: dict[str, float], clock: Clock
) -> None:
    text = " ".join(f"{head} {value:.3f}" for head, value in accuracy.items())
    log.info("tower step %d loss %.3f %.1f steps/s, %s | %d: %s", step, loss, speed, clock.left, side, text)
    row = {"step": step, "minutes": round(clock.consumed / 60, 2), "loss": round(loss, 4)}
    record(run, stage="tower", side=side, accuracy=accuracy, **row)


def load_tower(run: Path, modules: M3Modules) -> None:
    """Puts the trained weights of tower.pt into ``modules.tower``; raises FileNotFoundError without them."""
    state: dict[str, Any] | None = restore(run / "tower.pt")
    if state is None:
        raise FileNotFoundError(f"{run / 'tower.pt'} is missing: run the stage 'tower' first.")
    own = dict(modules.tower.named_parameters())
    with torch.no_grad():
        for name, value in state["optimiser"]["masters"].items():
            if name.startswith("tower."):
                own[name.removeprefix("tower.")].copy_(value)
