"""A router for outcomes that came without route inputs: it looks at the text of the question alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.records import OutcomeTable, RecordError
from m3_backbone.fake import FakeEngine
from m3_backbone.types import RouteInputs
from router.features import FROM_TEXT
from router.request_numbers import recorded
from router.router import Router
from tests.routing import NEEDS, outcomes
from training.candidates import candidates
from training.candidates.base import by_name
from training.candidates.question_text import question_text
from training.fit import FitResult, fit
from training.importing.rows import Answer
from training.importing.table import Origin, build_table
from training.vocabulary import choose_phrases


def imported(split: str, n_images: int) -> OutcomeTable:
    """`tests.routing.outcomes` as another program would have recorded them."""
    t = outcomes(n_images, split=split)
    answers = (
        Answer(
            where=f"line {i}",
            sample_id=t.sample_ids[i],
            scale=scale,
            question=t.questions[i],
            references=t.references[i],
            image=t.image_ids[t.image_index[i]],
            family=str(t.families[i]),
            answer="yes",
            score=float(t.scores[i, s]),
            tokens=None,
        )
        for i in range(len(t))
        for s, scale in enumerate(t.scales)
    )
    return build_table(answers, Origin("llava", "mine", "exact_match", split, fingerprint="fake"))


@cache
def fitted() -> FitResult:
    candidate = replace(question_text(), grid=question_text().grid[:1], folds=2, rounds=30)
    return fit(imported("router-train", 120), imported("tune", 80), candidate, threads=1)


def inputs_of(question: str) -> RouteInputs:
    """What an engine that has nothing in common with the table but its ladder sees of a question."""

    async def seen() -> RouteInputs:
        engine = FakeEngine()
        await engine.start()
        try:
            image = await engine.encode(Image.linear_gradient("L").convert("RGB"))
            return await engine.summarise(image, [question])
        finally:
            await engine.close()

    return asyncio.run(seen())


def test_the_bundle_says_what_it_was_fitted_on() -> None:
    bundle = fitted().bundle
    assert bundle.candidate == "question_text"
    assert bundle.provenance["route_inputs"] == "none"
    assert bundle.features.groups == tuple(FROM_TEXT)
    assert bundle.features.phrases == tuple(map(str, range(len(NEEDS))))  # "question" is in every one
    assert bundle.novelty_threshold is None
    assert recorded(bundle.provenance) == {}  # pictures of no size are not what it will be asked about


def test_it_serves_by_the_text_as_it_replays_on_the_table(tmp_path: Path) -> None:
    fitted().bundle.write(tmp_path / "bundle")
    router = Router.load(tmp_path / "bundle", "fake")
    table = imported("dev", 20)
    predictions = router.predict(router.bundle.features.matrix(table))
    decisions = {question: router.route(inputs_of(question)) for question in set(table.questions)}
    for row, question in zip(predictions.score, table.questions, strict=True):
        assert decisions[question].fallback is None
        np.testing.assert_array_equal(list(decisions[question].expected_scores.values()), row)
    assert len({tuple(decision.expected_scores.values()) for decision in decisions.values()}) > 1


def test_whoever_looks_at_more_is_refused_with_the_remedy() -> None:
    train, tune = imported("router-train", 10), imported("tune", 10)
    with pytest.raises(
        RecordError, match=r"router-train was imported and has no route inputs.*question_text"
    ):
        fit(train, tune, by_name("question_only", candidates()))


def test_phrases_are_the_words_and_pairs_that_tell_most() -> None:
    questions = [f"What is the {'sum of' if i % 2 else 'name on'} it?" for i in range(100)]
    targets = np.array([[i % 2] for i in range(100)], np.float64)
    assert choose_phrases(questions, targets) == ("name", "of")  # of those always together the first
