"""A SentencePiece BPE tokenizer in Llama's layout, trained on the generator's lines."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import sentencepiece

from m3_backbone.tokenizer import Tokenizer


def train_tokenizer(lines: Iterable[str], path: Path, *, vocabulary: int, split_digits: bool) -> None:
    """Writes ``path`` (tokenizer.model): byte fallback, unk 0, bos 1, eos 2, no pad piece."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocabulary,
        byte_fallback=True,
        split_digits=split_digits,
        allow_whitespace_only_pieces=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=True,
        character_coverage=1.0,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        num_threads=2,
        minloglevel=2,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.getvalue())


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer that inference will use on this model."""
    return Tokenizer(path.read_bytes(), legacy=False)
