"""Trains projector and language model with M3's objective: the mean over scales of the answer loss.

Phase 1 uses a few small scales and large batches: look-ups are learned there, soonest when whole
pictures are also written out. Phase 2 uses every scale of the ladder. The tower is frozen, its features
are read from the run folder.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from m3_backbone.modules import M3Modules
from training.backbone.decoder import Decoder, pool
from training.backbone.exam import Exam, as_text
from training.backbone.features import open_features
from training.backbone.kernels import Kernels
from training.backbone.mixed import MixedOptimiser
from training.backbone.pictures import PictureStore
from training.backbone.progress import Clock, Every, Interrupted, Stop, rate_at, record, restore, save
from training.backbone.recipe import SCALES, Recipe
from training.backbone.sequences import DESCRIPTION, QUESTION, Batch, Block, Blocks, collate
from training.backbone.tokenizer import load_tokenizer

log = logging.getLogger(__name__)


class Lessons:
    """Every picture's tokenised blocks, and random choices of them."""

    def __init__(self, store: PictureStore, blocks: Blocks, seed: int) -> None:
        self._questions = [[blocks.block(q, a) for q, a, _ in text["questions"]] for text in store.texts]
        self._descriptions = [
            [blocks.block(p, t, DESCRIPTION) for p, t in text["descriptions"]] for text in store.texts
        ]
        self._rng = np.random.default_rng(seed)
        self._order: list[int] = []

    def draw(self, images: int, questions: int, descriptions: int) -> tuple[list[int], list[list[Block]]]:
        """Indices of pictures (every one once before any comes again), and blocks for each.

        The first description (of the whole picture) is taken every second time, parts of it otherwise.
        """
        rng = self._rng
        while len(self._order) < images:
            self._order = [*rng.permutation(len(self._questions)).tolist(), *self._order]
        chosen = [self._order.pop() for _ in range(images)]
        drawn = []
        for index in chosen:
            asked = self._questions[index]
            picked = [asked[i] for i in rng.permutation(len(asked))[:questions]]
            parts = self._descriptions[index]
            if parts and descriptions:
                order = rng.permutation(len(parts))[:descriptions].tolist()
                if 0 not in order and rng.random() < 0.5:
                    order[0] = 0
                picked += [parts[i] for i in order]
            drawn.append(picked)
        return chosen, drawn


def answer_loss(logits: torch.Tensor, batch: Batch, description_weight: float) -> torch.Tensor:
    """Mean over the questions' answer tokens, plus the weighted mean over the descriptions' tokens."""
    losses = F.cross_entropy(logits, batch.targets, reduction="none")
    asked = losses[batch.role == QUESTION].mean()
    told = losses[batch.role == DESCRIPTION]
    return asked + description_weight * told.mean() if len(told) else asked


class LanguageTraining:
    """State of the stage; `run` goes to the end of its time."""

    def __init__(self, run: Path, modules: M3Modules, recipe: Recipe, kernels: Kernels, stop: Stop) -> None:
        self._folder, self._recipe, self._stop = run, recipe, stop
        self._modules = modules
        store, held_out = PictureStore.open(run / "train"), PictureStore.open(run / "val")
        self._features = open_features(run / "train", len(store), recipe.tower_width)
        self._held_out = open_features(run / "val", len(held_out), recipe.tower_width)
        self._blocks = Blocks(load_tokenizer(run / "tokenizer.model"))
        self._exam = Exam.of(held_out, self._blocks, min(recipe.exam_pictures, len(held_out)))
        names = [n for n, _ in modules.named_parameters() if n.startswith(("projector.", "language_model."))]
        self._optimiser = MixedOptimiser(
            modules,
            names,
            weight_decay=recipe.weight_decay,
            clip=recipe.clip,
            muon=[name for name in names if _is_hidden_matrix(name, modules.get_parameter(name))],
            muon_factor=recipe.muon_factor,
        )
        self._decoder = Decoder(modules, kernels, recipe.context)
        self.step, consumed, self.done = 0, 0.0, False
        state = restore(self._path)
        if state is not None:
            self._optimiser.load(state["optimiser"])
            self.step, consumed, self.done = state["step"], state["consumed"], state["done"]
        self._lessons = Lessons(store, self._blocks, recipe.seed + 1_000_003 * self.step + 29)
        self._clock = Clock((recipe.minutes_phase1 + recipe.minutes_phase2) * 60, consumed)
        self._phase1_share = recipe.minutes_phase1 / max(1e-9, recipe.minutes_phase1 + recipe.minutes_phase2)

    @property
    def _path(self) -> Path:
        return self._folder / "language.pt"

    def _checkpoint(self) -> None:
        state = {"step": self.step, "consumed": self._clock.consumed, "done": self.done}
        save(self._path, {"optimiser": self._optimiser.state()} | state)

    def _description_weight(self) -> float:
        recipe, share = self._recipe, self._clock.share
        along = max(0.0, (share - self._phase1_share) / max(1e-9, 1 - self._phase1_share))
        return recipe.description_start + min(1.0, along) * (
            recipe.description_end - recipe.description_start
        )

    def _learn(self, first: bool) -> tuple[float, int]:
        """One update; returns the loss (mean over scales) and the images seen."""
        recipe = self._recipe
        scales = recipe.phase1_scales if first else SCALES
        images = recipe.phase1_images if first else recipe.phase2_images
        micro = images if first else recipe.micro
        weight, total = self._description_weight(), 0.0
        parts = -(-images // micro)
        for _ in range(parts):
            indices, drawn = self._lessons.draw(micro, recipe.questions, recipe.descriptions)
            batch = collate(drawn)
            grid = self._modules.project(self._features[indices])
            leaf = grid.detach().requires_grad_()
            for scale in scales:
                # The largest scale costs more than the others together; fewer images, still their mean.
                count = max(1, round(micro * recipe.full_share)) if scale == SCALES[-1] else micro
                part = batch if count == micro else batch.first(count)
                prefix = self._decoder.prefix(self._blocks.prefix, pool(leaf[:count], scale))
                loss = answer_loss(self._decoder.logits(prefix, part), part, weight) / (len(scales) * parts)
                loss.backward()  # type: ignore[no-untyped-call]
                total += float(loss.detach())
            grid.backward(leaf.grad)  # type: ignore[no-untyped-call]
            self._optimiser.collect()
        rate = rate_at(self._clock.share, peak=recipe.rate, warm_up=recipe.warm_up, final=recipe.final_rate)
        self._optimiser.step(rate)
        self.step += 1
        return total, parts * micro

    def run(self) -> None:
        """To the end of the time; raises `Interrupted`, with everything saved, when asked to stop."""
        recipe, clock = self._recipe, self._clock
        tell, keep, examine = Every(20), Every(recipe.checkpoint_seconds), Every(recipe.exam_seconds)
        mean, seen, since = 0.0, 0, clock.consumed
        while clock.share < 1.0 and not self.done:
            first = clock.share < self._phase1_share
            loss, images = self._learn(first)
            mean = loss if mean == 0.0 else 0.95 * mean + 0.05 * loss
            seen += images
            if self._stop.asked:
                self._checkpoint()
                raise Interrupted(f"stopped in the language stage at step {self.step}")
            if tell.due():
                speed = seen / (clock.consumed - since)
                phase = 1 if first else 2
                said = (phase, self.step, mean, speed, clock.left)
                log.info("phase %d step %d loss %.3f %.1f images/s, %s", *said)
                record(self._folder, stage="language", phase=phase, step=self.step, loss=round(mean, 4))
                seen, since = 0, clock.consumed
            if keep.due():
                self._checkpoint()
            if examine.due():
                self.examine(kinds=False)
                seen, since = 0, clock.consumed
        self.done = True
        self._checkpoint()
        self.examine(kinds=True)

    def examine(self, *, kinds: bool) -> dict[str, dict[int, float]]:
        """Held-out accuracy by scale, family and kind; logged and appended to metrics.jsonl."""
        table = self._exam.sit(self._modules, self._decoder, self._held_out, self._blocks.prefix, SCALES)
        log.info("held-out questions after step %d\n%s", self.step, as_text(table, kinds=kinds))
        record(self._folder, stage="exam", step=self.step, accuracy=table)
        return table


def _is_hidden_matrix(name: str, weight: torch.Tensor) -> bool:
    """Muon is for matrices between hidden states; embeddings and the output head stay with AdamW."""
    return weight.ndim == 2 and "embed" not in name and "lm_head" not in name


def load_language(run: Path, modules: M3Modules) -> None:
    """Puts the weights of language.pt into ``modules``; raises FileNotFoundError without them."""
    state: dict[str, Any] | None = restore(run / "language.pt")
    if state is None:
        raise FileNotFoundError(f"{run / 'language.pt'} is missing: run the stage 'language' first.")
    own = dict(modules.named_parameters())
    with torch.no_grad():
        for name, value in state["optimiser"]["masters"].items():
            own[name].copy_(value)
