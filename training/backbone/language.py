"""Trains projector and language model with M3's objective: the mean over scales of the answer loss.

Phase 1 uses mainly scales whose sequences are short: look-ups are learned there, soonest when whole
pictures are also written out and the visual tokens are tied to words (see `alignment`). Phase 2 uses all
scales, most of all the full one. Each step takes one scale, drawn at random. The tower is frozen, its
features are read from the run folder.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from m3_backbone.modules import M3Modules
from training.backbone.alignment import PatchWords, alignment_loss, hints
from training.backbone.decoder import Decoder, pool
from training.backbone.exam import Exam, as_text
from training.backbone.features import open_features
from training.backbone.kernels import Kernels
from training.backbone.lessons import Lessons
from training.backbone.mixed import MixedOptimiser
from training.backbone.pictures import PictureStore
from training.backbone.progress import Clock, Every, Interrupted, Stop, rate_at, record, restore, save
from training.backbone.recipe import SCALES, Recipe
from training.backbone.sequences import DESCRIPTION, QUESTION, Batch, Blocks, collate
from training.backbone.start import start_language
from training.backbone.tokenizer import load_tokenizer

log = logging.getLogger(__name__)


def answer_loss(logits: torch.Tensor, batch: Batch, description_weight: float) -> torch.Tensor:
    """Mean over the questions' answer tokens, plus the weighted mean over the descriptions' tokens."""
    losses = F.cross_entropy(logits, batch.targets, reduction="none")
    asked = losses[batch.role == QUESTION].mean()
    told = losses[batch.role == DESCRIPTION]
    return asked + description_weight * told.mean() if len(told) else asked


class LanguageTraining:
    """State of the stage; `run` goes to the end of its time."""

    def __init__(
        self,
        run: Path,
        modules: M3Modules,
        recipe: Recipe,
        kernels: Kernels,
        dtype: torch.dtype,
        stop: Stop,
    ) -> None:
        self._folder, self._recipe, self._stop = run, recipe, stop
        self._modules = modules
        store, held_out = PictureStore.open(run / "train"), PictureStore.open(run / "val")
        self._features = open_features(run / "train", len(store), recipe.tower_width)
        self._held_out = open_features(run / "val", len(held_out), recipe.tower_width)
        self._blocks = Blocks(load_tokenizer(run / "tokenizer.model"))
        self._exam = Exam.of(held_out, self._blocks, min(recipe.exam_pictures, len(held_out)))
        if recipe.start:
            start_language(modules, recipe, run)
        else:
            start_weights(modules, recipe.embedding_spread)
        names = [n for n, _ in modules.named_parameters() if n.startswith(("projector.", "language_model."))]
        self._optimiser = MixedOptimiser(
            modules,
            names,
            weight_decay=recipe.weight_decay,
            clip=recipe.clip,
            dtype=dtype,
            muon=[name for name in names if _is_hidden_matrix(name, modules.get_parameter(name))],
            muon_factor=recipe.muon_factor,
        )
        self._decoder = Decoder(modules, kernels, recipe.context)
        self.step, consumed, self.done = 0, 0.0, False
        state = restore(self._path)
        if state is not None:
            self._optimiser.load(state["optimiser"])
            self.step, consumed, self.done = state["step"], state["consumed"], state["done"]
        self._lessons = Lessons(store, self._blocks, recipe, recipe.seed + 1_000_003 * self.step + 29)
        self._labels = store.labels
        self._words = PatchWords(self._blocks.word, recipe.vocabulary)
        self._clock = Clock((recipe.minutes_phase1 + recipe.minutes_phase2) * 60, consumed)
        self._phase1_share = recipe.minutes_phase1 / max(1e-9, recipe.minutes_phase1 + recipe.minutes_phase2)

    @property
    def _path(self) -> Path:
        return self._folder / "language.pt"

    @property
    def _minutes(self) -> float:
        return round(self._clock.consumed / 60, 2)

    def _checkpoint(self) -> None:
        state = {"step": self.step, "consumed": self._clock.consumed, "done": self.done}
        save(self._path, {"optimiser": self._optimiser.state()} | state)

    def _along(self, start: float, end: float) -> float:
        """``start`` during phase 1, then linearly to ``end`` at the end of phase 2."""
        along = (self._clock.share - self._phase1_share) / max(1e-9, 1 - self._phase1_share)
        return start + min(1.0, max(0.0, along)) * (end - start)

    def _hint(self) -> float:
        """How much of the words' embeddings is added to the visual tokens: 1 at first, then 0.

        Nothing after a start from a checkpoint, whose visual tokens are tied to words already.
        """
        if self._recipe.start:
            return 0.0
        full, none = self._recipe.hint_full, self._recipe.hint_none
        return min(1.0, max(0.0, (none - self.step) / max(1, none - full)))

    def _learn(self, first: bool) -> tuple[float, int]:
        """One update, at one scale; returns the answers' loss and the images seen.

        A scale a step, drawn with the phase's shares: the expectation is M3's mean over scales (weighted by
        the shares), and a step costs a fifth.
        """
        recipe = self._recipe
        scale = self._lessons.scale(SCALES, recipe.phase1_shares if first else recipe.phase2_shares)
        told = self._along(recipe.description_start, recipe.description_end)
        aligned, hint = self._along(recipe.alignment_start, recipe.alignment_end), self._hint()
        chosen, drawn = self._lessons.draw()
        longest = max(sum(len(block.ids) for block in blocks) for blocks in drawn)
        parts = -(-len(chosen) * (scale + longest) // recipe.micro_tokens)
        micro = -(-len(chosen) // parts)
        total = 0.0
        for start in range(0, len(chosen), micro):
            indices, blocks = chosen[start : start + micro], drawn[start : start + micro]
            batch = collate(blocks)
            targets = self._words.targets(self._labels, indices, scale)
            words = self._decoder.words
            visual = pool(self._modules.project(self._features[indices].to(words.dtype)), scale)
            loss = aligned * alignment_loss(visual, words, targets)
            if hint:
                visual = visual + hint * hints(words, targets)
            logits = self._decoder.logits(self._decoder.prefix(self._blocks.prefix, visual), batch)
            answers = answer_loss(logits, batch, told)
            share = len(indices) / len(chosen)
            ((loss + answers) * share).backward()  # type: ignore[no-untyped-call]
            total += float(answers.detach()) * share
            self._optimiser.collect()
        rate = rate_at(
            self._clock.share,
            peak=recipe.rate * recipe.rate_share,
            warm_up=recipe.warm_up,
            final=recipe.final_rate,
        )
        self._optimiser.step(rate)
        self.step += 1
        return total, len(chosen)

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
                row = {"step": self.step, "minutes": self._minutes, "loss": round(mean, 4)}
                record(self._folder, stage="language", phase=phase, **row)
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
        record(self._folder, stage="exam", step=self.step, minutes=self._minutes, accuracy=table)
        return table


def start_weights(modules: M3Modules, spread: float) -> None:
    """Word embeddings with a standard deviation of ``spread``, and blocks that add nothing yet.

    Look-ups need words that differ; with the usual 0.02 or 0.04 the blocks' noise hides them at first.
    """
    model: Any = modules.language_model.model
    with torch.no_grad():
        model.embed_tokens.weight.normal_(std=spread)
        for layer in model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()


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
