"""Corpus figures equal those of the official evaluators."""

from __future__ import annotations

import json

import pytest

from data.corpus import CORPUS, Answered, mme, pope_llava, pope_lmms
from data.scoring import METRICS, ScoringError
from tests.test_data_scoring import SHARED


def answered(predictions: list[str], references: list[str]) -> list[Answered]:
    return [Answered(p, r) for p, r in zip(predictions, references, strict=True)]


def test_llavas_pope_counts_every_answer_as_yes_or_no() -> None:
    got = pope_llava(answered(["maybe", "Yes", "No", "unsure"], ["yes", "yes", "no", "no"]))
    assert got == pytest.approx(
        {"accuracy": 0.75, "precision": 2 / 3, "recall": 1.0, "f1": 0.8, "yes_ratio": 0.75}
    )


def test_lmms_pope_leaves_other_answers_out_of_f1_and_takes_the_ratio_of_the_labels() -> None:
    got = pope_lmms(answered(["Yes ", "unsure", "no", "yes"], ["yes", "yes", "yes", "no"]))
    assert got == pytest.approx(
        {"accuracy": 0.25, "precision": 0.5, "recall": 0.5, "f1": 0.5, "yes_ratio": 0.75}
    )
    nothing = pope_lmms(answered(["No"] * 5, ["yes", "yes", "no", "no", "no"]))
    assert nothing == {"accuracy": 0.6, "precision": 0.0, "recall": 0.0, "f1": 0.0, "yes_ratio": 0.4}


@pytest.mark.skipif(not SHARED.is_file(), reason="needs the golden records of all evaluators")
def test_every_golden_corpus_figure_is_met() -> None:
    seen = 0
    for record in json.loads(SHARED.read_text(encoding="utf-8")):
        name, _, corpus = record["metric"].rpartition("_")
        if corpus == "corpus":
            got = CORPUS[name].figures(answered(record["prediction"], record["references"]))
            assert got == pytest.approx(record["score"], abs=1e-9)
            seen += 1
    assert seen == 11


def test_mme_gives_a_hundred_for_accuracy_and_a_hundred_for_images_with_both_right() -> None:
    answers = [
        Answered("Yes", "Yes", "count", "a"),
        Answered("no.", "No", "count", "a"),
        Answered("yes", "Yes", "count", "b"),
        Answered("yes", "No", "count", "b"),
        Answered("Yes, it is", "Yes", "OCR", "a"),
        Answered("N", "No", "OCR", "a"),
        Answered("perhaps", "Yes", "code_reasoning", "c"),
        Answered("no", "No", "code_reasoning", "c"),
    ]
    # count: image a 200, image b 50; OCR: 200; code reasoning: 50
    assert mme(answers) == {"perception": 125.0 + 200.0, "cognition": 50.0}
    with pytest.raises(ScoringError, match="'a' has 1 in 'count'"):
        mme(answers[1:])


def test_every_corpus_figure_belongs_to_a_metric() -> None:
    assert set(CORPUS) <= set(METRICS)
    assert all(c.figures([]).keys() for c in CORPUS.values())
