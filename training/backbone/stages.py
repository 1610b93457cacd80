"""The stages of a backbone run, in order; each leaves its result in the run folder; done ones are skipped."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path

import torch

from m3_backbone.modules import M3Modules, build_modules
from training.backbone.export import export
from training.backbone.features import extract
from training.backbone.kernels import Kernels
from training.backbone.language import LanguageTraining
from training.backbone.mixed import prepare_machine
from training.backbone.pictures import render_pictures
from training.backbone.precision import working_dtype
from training.backbone.progress import Stop
from training.backbone.recipe import Recipe
from training.backbone.tokenizer import train_tokenizer
from training.backbone.tower import load_tower, train_tower

log = logging.getLogger(__name__)

STAGES = ("tokenizer", "pictures", "tower", "features", "language", "export")


class BackboneRun:
    """A run folder: recipe.json, tokenizer.model, train/ and val/, tower.pt, language.pt, metrics.jsonl."""

    def __init__(self, folder: Path, recipe: Recipe, export_to: Path | None = None) -> None:
        self._folder, self._recipe = folder, recipe
        self._export_to = export_to or folder / "checkpoint"
        self._stop = Stop()

    def run(self, stage: str = "all") -> None:
        """``stage``: one of `STAGES` or "all"; ValueError for others. `Interrupted` when asked to stop."""
        if stage not in (*STAGES, "all"):
            raise ValueError(f"There is no stage {stage!r}. Stages: {', '.join(STAGES)}, all.")
        with self._stop.listening():
            for name in STAGES if stage == "all" else (stage,):
                log.info("stage %s", name)
                getattr(self, f"_{name}")()

    def _modules(self, seed: int) -> M3Modules:
        torch.manual_seed(self._recipe.seed + seed)
        return build_modules(self._recipe.config(), self._recipe.tower_config())

    @cached_property
    def _dtype(self) -> torch.dtype:
        return working_dtype(self._recipe.dtype, self._recipe.threads)

    def _kernels(self) -> Kernels:
        prepare_machine(self._recipe.threads)
        return Kernels(compiled=self._recipe.compile)

    def _tokenizer(self) -> None:
        from data.scalebench import corpus

        path, recipe = self._folder / "tokenizer.model", self._recipe
        if not path.exists():
            train_tokenizer(corpus(), path, vocabulary=recipe.vocabulary, split_digits=recipe.split_digits)

    def _pictures(self) -> None:
        recipe = self._recipe
        render_pictures(self._folder / "val", "backbone-val", recipe.val_images, recipe)
        render_pictures(
            self._folder / "train", "backbone-train", recipe.images, recipe, first=recipe.first_image
        )

    def _tower(self) -> None:
        train_tower(self._folder, self._modules(1), self._recipe, self._kernels(), self._dtype, self._stop)

    def _features(self) -> None:
        modules, kernels = self._modules(1), self._kernels()
        load_tower(self._folder, modules)
        modules.to(self._dtype)
        for split in ("val", "train"):
            extract(self._folder / split, modules, self._recipe, kernels, self._stop)

    def _language(self) -> None:
        modules, kernels = self._modules(2), self._kernels()
        LanguageTraining(self._folder, modules, self._recipe, kernels, self._dtype, self._stop).run()

    def _export(self) -> None:
        parameters = export(self._folder, self._export_to, self._modules(1), self._recipe)
        log.info("%.2f M parameters exported to %s", parameters / 1e6, self._export_to)
