"""A run that begins with another checkpoint's weights."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest
import torch
from sentencepiece import SentencePieceProcessor

from data.scalebench import corpus
from m3_backbone.checkpoint import CheckpointError, load_checkpoint
from m3_backbone.modules import M3Modules, build_modules
from tests.training_backbone import RECIPE, random_modules, recipe, served
from training.backbone.start import check_start, start_language, start_tower
from training.backbone.tokenizer import train_tokenizer

EMBEDDINGS, HEAD = "language_model.model.embed_tokens.weight", "language_model.lm_head.weight"


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder."""
    folder = tmp_path_factory.mktemp("before")
    served(folder, random_modules())
    return folder / "checkpoint"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose tokenizer was trained on other lines."""
    folder = tmp_path_factory.mktemp("run")
    lines = islice((line for line in corpus() if "bread" not in line), 60, 200)
    train_tokenizer(lines, folder / "tokenizer.model", vocabulary=RECIPE.vocabulary, split_digits=False)
    return folder


def fresh() -> M3Modules:
    torch.manual_seed(5)
    return build_modules(RECIPE.config(), RECIPE.tower_config())


def test_tower_and_blocks_are_those_of_the_checkpoint(before: Path, run: Path) -> None:
    modules, theirs = fresh(), dict(load_checkpoint(before).modules.named_parameters())
    start_tower(modules, recipe(start=str(before)), run)
    start_language(modules, recipe(start=str(before)), run)
    for name, value in modules.named_parameters():
        if name in theirs and "embed_tokens" not in name and "lm_head" not in name:
            assert torch.equal(value, theirs[name]), name
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert rows[0]["fingerprint"] == load_checkpoint(before).fingerprint


def test_rows_of_words_go_by_their_pieces_and_new_ones_by_what_they_were_spelled_with(
    before: Path, run: Path
) -> None:
    modules = fresh()
    start_language(modules, recipe(start=str(before)), run)
    own, theirs = dict(modules.named_parameters()), dict(load_checkpoint(before).modules.named_parameters())
    old, new = (SentencePieceProcessor(model_file=str(f / "tokenizer.model")) for f in (before, run))
    names = {old.IdToPiece(index): index for index in range(old.GetPieceSize())}
    known = spelled = 0
    for index in range(new.GetPieceSize()):
        piece, row, head = new.IdToPiece(index), own[EMBEDDINGS][index], own[HEAD][index]
        if piece in names:
            assert torch.equal(row, theirs[EMBEDDINGS][names[piece]]), piece
            assert torch.equal(head, theirs[HEAD][names[piece]]), piece
            known += 1
        elif piece.startswith("\u2581"):
            ids = old.EncodeAsIds(piece[1:])
            mean = theirs[EMBEDDINGS][ids].mean(0)
            assert float(torch.cosine_similarity(row, mean, 0).detach()) > 0.999, piece
            assert torch.equal(head, theirs[HEAD][ids[0]]), piece
            spelled += 1
    assert known > 300
    assert spelled > 5


def test_a_checkpoint_of_other_sizes_is_refused_with_both(before: Path) -> None:
    with pytest.raises(
        ValueError, match=r"--start has value .* is \(.*32.*\), this recipe's \(.*48.*\): start"
    ):
        check_start(recipe(start=str(before), hidden=48, tower_width=48, heads=3, tower_heads=3))
    with pytest.raises(CheckpointError, match="nowhere"):
        check_start(recipe(start="nowhere"))
    check_start(recipe(start=str(before)))
    check_start(RECIPE)
