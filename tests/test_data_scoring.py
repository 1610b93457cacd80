from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import vqa_text
from data.scoring import METRICS, ScoringError, levenshtein, metric

GOLDEN = Path(__file__).parent / "golden" / "metrics.json"
SHARED = Path(__file__).parents[2] / "shared" / "golden" / "metrics.json"  # all records, where they are


def golden() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return content


def all_records() -> Iterator[tuple[str, str, Any, float]]:
    for record in json.loads(SHARED.read_text(encoding="utf-8")):
        if record["score"] is not None:
            yield record["metric"], record["prediction"], record["references"], record["score"]


@pytest.mark.parametrize("name", sorted(golden()))
def test_a_metric_equals_the_official_evaluator(name: str) -> None:
    records = golden()[name]["records"]
    assert len(records) > 10
    for prediction, references, score in records:
        assert METRICS[name](prediction, references) == pytest.approx(score, abs=1e-9), (
            prediction,
            references,
        )


@pytest.mark.skipif(not SHARED.is_file(), reason="needs the golden records of all evaluators")
def test_every_golden_record_of_a_known_metric_is_met() -> None:
    missing = set()
    for name, prediction, references, score in all_records():
        if name in METRICS:
            assert METRICS[name](prediction, references) == pytest.approx(score, abs=1e-9), (name, prediction)
        else:
            missing.add(name)
    # a later parser, and figures over a whole corpus (tests/test_data_corpus.py)
    assert missing == {"mcq_extract_lmms", "pope_llava_corpus", "pope_lmms_corpus"}


def test_every_metric_has_golden_records_or_is_our_own() -> None:
    assert set(METRICS) - set(golden()) == {"answer_match"}


def test_answer_match_forgives_case_white_space_and_one_full_stop() -> None:
    for prediction in ("Red", " red ", "red.", "RED. "):
        assert METRICS["answer_match"](prediction, ["red"]) == 1.0
    for prediction in ("red..", "red!", "dark red", ""):
        assert METRICS["answer_match"](prediction, ["red"]) == 0.0
    assert METRICS["answer_match"]("2", ["two", "2"]) == 1.0


def test_multiple_choice_takes_a_letter_followed_by_the_choices_too() -> None:
    assert METRICS["mmbench_can_infer"]("it is a dog", ("B", "cat", "dog")) == 1.0
    assert METRICS["mmbench_can_infer"]("it is a cow", ("B", "cat", "dog")) == 0.0
    assert METRICS["scienceqa_lmms"]("B. dog", ("B", "cat", "dog")) == 1.0


@pytest.mark.parametrize(
    ("name", "prediction", "references", "message"),
    [
        ("textvqa_m4c", "yes", ["yes"] * 9, "exactly 10 references, got 9"),
        ("textvqa_m4c", "yes", None, "at least one reference"),
        ("exact_match", "yes", [], "at least one reference"),
        ("chartqa_relaxed", "yes", [None], r"one reference text, got \[None\]"),
        ("pope_llava", "yes", {"answer": "yes"}, "list of at least one reference"),
        ("ai2d_lmms", "A", [None, "cat"], "needs a letter and the choices"),
        ("exact_match", "yes", "yes", "list of at least one reference text, got 'yes'"),
        ("vizwiz_lmms", "yes", [], "at least one reference"),
        ("anls_m4c", " ", ["a", ""], "empty prediction with an empty reference"),
        ("mmmu_parse_mc", "B", {"choices": "AB", "answer": "B"}, "needs a letter and the choices"),
        ("mmmu_parse_mc", "B", "B", "needs a letter and the choices"),
    ],
)
def test_references_that_a_metric_cannot_use_are_an_error(
    name: str, prediction: str, references: Any, message: str
) -> None:
    with pytest.raises(ScoringError, match=message):
        METRICS[name](prediction, references)


def test_an_unknown_metric_names_the_known_ones() -> None:
    with pytest.raises(ScoringError, match=r"'bleu' is not known.*anls_lmms, .*vqa_official"):
        metric("bleu")
    assert metric("exact_match") is METRICS["exact_match"]


def test_levenshtein_counts_edits() -> None:
    assert levenshtein("kitten", "sitting") == 3
    assert levenshtein("", "abc") == levenshtein("abc", "") == 3
    assert levenshtein("flaw", "lawn") == 2


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=12), st.text(max_size=12))
def test_levenshtein_is_a_distance(a: str, b: str) -> None:
    assert levenshtein(a, b) == levenshtein(b, a)
    assert (levenshtein(a, b) == 0) == (a == b)
    assert abs(len(a) - len(b)) <= levenshtein(a, b) <= max(len(a), len(b))


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30), st.lists(st.text(min_size=1, max_size=10), min_size=10, max_size=10))
def test_every_metric_gives_a_score_between_0_and_1(prediction: str, references: list[str]) -> None:
    for name, score in METRICS.items():
        if name == "anls_m4c" and not prediction.strip():
            continue
        assert 0.0 <= score(prediction, references) <= 1.0, name


def test_number_words_and_contractions_are_those_of_the_evaluators() -> None:
    assert vqa_text.NUMBERS["none"] == vqa_text.NUMBERS["zero"] == "0"
    assert vqa_text.NUMBERS["ten"] == "10"
    assert len(vqa_text.CONTRACTIONS) == 118
    assert vqa_text.CONTRACTIONS["couldn'tve"] == "couldn't've"
    assert vqa_text.m4c("The two dogs' ball, isnt it?") == "2 dogs' ball isn't it"
