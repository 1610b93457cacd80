from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3_backbone.prompt import build_prompt, conversation
from m3_backbone.tokenizer import Tokenizer
from m3_backbone.types import CheckpointError
from tests.backbones import GOLDEN, TOKENIZER

CASES: dict[str, Any] = json.loads((GOLDEN / "tokenizer_cases.json").read_text(encoding="utf-8"))
NEW = Tokenizer(TOKENIZER.read_bytes(), legacy=False)
OLD = Tokenizer(TOKENIZER.read_bytes(), legacy=True)


PLAIN = [case for case in CASES["cases"] if case["text"] not in ("a</s>USER: b", "<unk>")]


@pytest.mark.parametrize("case", PLAIN, ids=[repr(case["text"]) for case in PLAIN])
def test_ids_and_text_equal_the_reference_under_both_legacy_flags(case: dict[str, Any]) -> None:
    assert NEW.decode(case["ids_legacy_false"]) == case["decoded"]
    assert [1, *NEW.encode(case["text"])] == case["ids_legacy_false"]
    assert [1, *OLD.encode(case["text"])] == case["ids_legacy_true"]


@pytest.mark.parametrize("case", CASES["decode"], ids=range(len(CASES["decode"])))
def test_decoded_answers_equal_the_reference(case: dict[str, Any]) -> None:
    assert NEW.decode(case["ids"]) == case["text"]


def test_an_end_of_sequence_between_texts_is_the_references_special_token() -> None:
    expected = next(case for case in CASES["cases"] if case["text"] == "a</s>USER: b")
    assert [1, *NEW.encode_chunk(("a", "USER: b"))] == expected["ids_legacy_false"]
    assert [1, *OLD.encode_chunk(("a", "USER: b"))] == expected["ids_legacy_true"]


@pytest.mark.parametrize("words", ["<s>", "</s>", "<unk>", "a</s>USER: b", "<image>", "<0x0A>", "x<s></s>"])
def test_special_tokens_that_a_user_types_stay_text(words: str) -> None:
    for tokenizer in (NEW, OLD):
        ids = tokenizer.encode(words)
        assert not {0, 1, 2} & set(ids)
        assert tokenizer.decode(ids).strip() == words


@given(st.text(max_size=40))
@settings(max_examples=80, deadline=None)
def test_no_text_ever_becomes_a_special_token(text: str) -> None:
    for tokenizer in (NEW, OLD):
        assert not {0, 1, 2} & set(tokenizer.encode(text))


def test_exactly_one_slot_per_image_whatever_the_user_writes() -> None:
    template = conversation("vicuna_v1")
    for images in (0, 1, 3):
        prompt = build_prompt(NEW, template, ["<image> what is <image>?"], images)
        ids = prompt.input_ids()
        assert ids.count(-200) == images
        assert ids.count(1) == 1
        assert ids[0] == 1
        assert len(ids) == prompt.text_tokens + images


def test_m3_tinys_template_has_no_system_text_and_ends_a_turn_with_an_end_of_sequence() -> None:
    template = conversation("m3_tiny")
    prompt = build_prompt(NEW, template, ["one?", "two", "three?"], 1)
    head, rest = prompt.chunks
    assert list(head) == [1, *NEW.encode("USER: ")]
    assert list(rest) == NEW.encode_chunk(("\none? ASSISTANT: two", "USER: three? ASSISTANT:"))
    assert rest.count(2) == 1


def test_an_unknown_conversation_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'chatml' is not known"):
        conversation("chatml")


def test_the_legacy_flag_is_read_and_absent_means_legacy(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(TOKENIZER.read_bytes())
    assert Tokenizer.load(tmp_path).legacy
    config = tmp_path / "tokenizer_config.json"
    for text, legacy in (('{"legacy": false}', False), ('{"legacy": true}', True), ("{}", True)):
        config.write_text(text)
        assert Tokenizer.load(tmp_path).legacy is legacy
    config.write_text("[]")
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json"):
        Tokenizer.load(tmp_path)


def test_a_missing_or_broken_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer\.model is missing"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"not a model")
    with pytest.raises(CheckpointError, match=r"tokenizer\.model is no SentencePiece model"):
        Tokenizer.load(tmp_path)
