"""The weights of a finished checkpoint as the start of another run: tower, projector and language model.

A new edition's pictures have other words, and its tokenizer is its own: the embeddings of pieces that both
have are taken over, those of new pieces are drawn as large as these.
"""

from __future__ import annotations

import logging
from pathlib import Path

import sentencepiece
import torch
from torch import Tensor

from m3_backbone import embedded_path
from m3_backbone.checkpoint import Checkpoint, load_checkpoint
from m3_backbone.modules import M3Modules, build_modules
from training.backbone.progress import record
from training.backbone.recipe import Recipe

log = logging.getLogger(__name__)

_ROWS = ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight")
"""A row for each piece of the tokenizer."""


def start_tower(modules: M3Modules, recipe: Recipe, run: Path) -> None:
    """Takes over the layers that M3 runs."""
    source = _source(recipe)
    core, own = "tower.", dict(modules.named_parameters())
    taken = {n: v for n, v in source.modules.named_parameters() if n.startswith(core) and n in own}
    _copy(own, taken)
    record(run, stage="start", name=source.name, fingerprint=source.fingerprint)
    log.info("the tower starts from %s: %d weights taken over", source.name, len(taken))


def start_language(modules: M3Modules, recipe: Recipe, run: Path) -> None:
    """Takes projector and language model over, rows of words by their pieces."""
    source = _source(recipe)
    own, theirs = dict(modules.named_parameters()), dict(source.modules.named_parameters())
    parts = ("projector.", "language_model.")
    taken = {name: value for name, value in theirs.items() if name.startswith(parts) and name not in _ROWS}
    _copy(own, taken)
    before, after = _pieces(source.folder / "tokenizer.model"), _pieces(run / "tokenizer.model")
    place = {piece: index for index, piece in enumerate(before)}
    known = [(index, place[piece]) for index, piece in enumerate(after) if piece in place]
    here, there = (torch.tensor(indices) for indices in zip(*known, strict=True))
    with torch.no_grad():
        for name in _ROWS:
            rows, found = own[name], theirs[name].to(own[name].dtype)
            rows.normal_(std=float(found[there].std()))
            rows[here] = found[there]
    log.info("the language model starts from %s: %d of %d pieces known", source.name, len(known), len(after))


def check_start(recipe: Recipe) -> None:
    """ValueError when the checkpoint cannot be read, or has other sizes than the recipe."""
    if not recipe.start:
        return
    with torch.device("meta"):
        own = dict(build_modules(recipe.config(), recipe.tower_config()).named_parameters())
    for name, value in _source(recipe).modules.named_parameters():
        if name not in _ROWS and (name not in own or own[name].shape != value.shape):
            here = tuple(own[name].shape) if name in own else "nothing"
            raise ValueError(
                f"--start has value '{recipe.start}'. Its {name} is {tuple(value.shape)}, this recipe's "
                f"{here}: start from a checkpoint of the same sizes."
            )


def _source(recipe: Recipe) -> Checkpoint:
    return load_checkpoint(embedded_path() if recipe.start == "tiny" else recipe.start)


def _copy(own: dict[str, Tensor], taken: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in taken.items():
            own[name].copy_(value)


def _pieces(path: Path) -> list[str]:
    """The tokenizer's pieces, by id."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return [processor.IdToPiece(index) for index in range(processor.GetPieceSize())]
