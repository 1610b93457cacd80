"""The weights of a finished checkpoint as the start of another run: tower, projector and language model.

A new edition's pictures have other words, and its tokenizer is its own. The rows of pieces that both have are
taken over. A new piece was several before: its embedding is their mean, as long as others are, and the head
gives it the row of the first, which is what the checkpoint would have said.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import sentencepiece
import torch
from torch import Tensor

from m3_backbone import embedded_path
from m3_backbone.checkpoint import Checkpoint, load_checkpoint
from m3_backbone.modules import M3Modules, build_modules
from training.backbone import history
from training.backbone.progress import record
from training.backbone.recipe import Recipe

log = logging.getLogger(__name__)

_EMBEDDINGS, _HEAD = "language_model.model.embed_tokens.weight", "language_model.lm_head.weight"
_ROWS = (_EMBEDDINGS, _HEAD)
"""A row for each piece of the tokenizer."""
_SPACE = "\u2581"
"""How SentencePiece writes a space."""


def start_tower(modules: M3Modules, recipe: Recipe, run: Path) -> None:
    """Takes over the layers that M3 runs."""
    source = _source(recipe)
    core, own = "tower.", dict(modules.named_parameters())
    taken = {n: v for n, v in source.modules.named_parameters() if n.startswith(core) and n in own}
    _copy(own, taken)
    record(run, stage="start", name=source.name, fingerprint=source.fingerprint)
    history.begin(run, source.folder)
    log.info("the tower starts from %s: %d weights taken over", source.name, len(taken))


def start_language(modules: M3Modules, recipe: Recipe, run: Path) -> None:
    """Takes projector and language model over, rows of words by their pieces."""
    source = _source(recipe)
    history.begin(run, source.folder)
    own, theirs = dict(modules.named_parameters()), dict(source.modules.named_parameters())
    parts = ("projector.", "language_model.")
    taken = {name: value for name, value in theirs.items() if name.startswith(parts) and name not in _ROWS}
    _copy(own, taken)
    old = sentencepiece.SentencePieceProcessor(model_file=str(source.folder / "tokenizer.model"))
    new = sentencepiece.SentencePieceProcessor(model_file=str(run / "tokenizer.model"))
    spelled = [_spelled(new.IdToPiece(index), old) for index in range(new.GetPieceSize())]
    with torch.no_grad():
        length = theirs[_EMBEDDINGS].norm(dim=1).mean()
        for index, ids in enumerate(spelled):
            if not ids:
                continue
            own[_HEAD][index] = theirs[_HEAD][ids[0]]
            mean = theirs[_EMBEDDINGS][ids].mean(0)
            own[_EMBEDDINGS][index] = mean if len(ids) == 1 else mean * (length / mean.norm())
    known = sum(len(ids) == 1 for ids in spelled)
    log.info("the language model starts from %s: %d of %d pieces known", source.name, known, len(spelled))


def _spelled(piece: str, old: sentencepiece.SentencePieceProcessor) -> list[int]:
    """The old ids that write what ``piece`` writes; none where they cannot."""
    if not old.IsUnknown(old.PieceToId(piece)) or piece == old.IdToPiece(old.unk_id()):
        return [old.PieceToId(piece)]
    ids = old.EncodeAsIds(piece[1:]) if piece[:1] == _SPACE else [old.PieceToId(letter) for letter in piece]
    return [] if any(old.IsUnknown(index) for index in ids) else list(ids)


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


def _copy(own: Mapping[str, Tensor], taken: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in taken.items():
            own[name].copy_(value)
