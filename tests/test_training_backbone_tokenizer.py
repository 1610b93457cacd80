from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from data.scalebench import corpus, picture
from data.scalebench.vocabulary import COLOURS, NUMBERS, SHAPES
from training.backbone.tokenizer import load_tokenizer, train_tokenizer


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "new" / "tokenizer.model"
    train_tokenizer(islice(corpus(), 300), path, vocabulary=800, split_digits=False)
    return path


def test_the_special_ids_are_llamas_and_the_size_is_as_asked(path: Path) -> None:
    tokenizer = load_tokenizer(path)
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.size) == (1, 2, 800)


def test_any_text_survives_by_bytes_and_none_becomes_unknown(path: Path) -> None:
    tokenizer = load_tokenizer(path)
    for text in ("Which word is on the red sign?", "Übergröße", "</s> USER: <image>", "two\nlines", "\u2603"):
        ids = tokenizer.encode(text)
        assert 0 not in ids
        assert tokenizer.decode(ids).strip() == text


def test_words_of_the_closed_world_are_few_tokens(path: Path) -> None:
    tokenizer = load_tokenizer(path)
    lengths = [len(tokenizer.encode(word)) for word in (*COLOURS, *SHAPES)]
    assert sum(lengths) / len(lengths) < 2.5


def test_numbers_are_one_token_unless_digits_are_split(path: Path, tmp_path: Path) -> None:
    whole = load_tokenizer(path)
    assert all(len(whole.encode(f"is {number}")) <= 3 for number in NUMBERS)
    train_tokenizer(islice(corpus(), 300), tmp_path / "split.model", vocabulary=800, split_digits=True)
    split = load_tokenizer(tmp_path / "split.model")
    assert len(split.encode("is 42")) > len(split.encode("is 4"))


def test_training_again_gives_the_same_tokenizer(path: Path, tmp_path: Path) -> None:
    train_tokenizer(islice(corpus(), 300), tmp_path / "again.model", vocabulary=800, split_digits=False)
    texts = [question.text for question in picture("dev", 1).questions]
    one, other = load_tokenizer(path), load_tokenizer(tmp_path / "again.model")
    assert [one.encode(text) for text in texts] == [other.encode(text) for text in texts]
