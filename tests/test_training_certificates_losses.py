"""Agreement with the full scale: short answers by their words, long ones by how likely they are."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from data.records import OutcomeTable, long_texts
from router import Router
from router.agreement import SHORT, normalised
from tests.routing import outcomes, small_fit
from training.certificates.certify import certify
from training.certificates.grid import Grid
from training.certificates.losses import at_scales, held_to_the_word

FULL = "a red sign with two white words on it"
OTHER = "the sign is red and says two words"


def table(answers: list[str], nats: list[float], n_images: int = 2, split: str = "dev") -> OutcomeTable:
    """Every sample answered alike; nats: of the full scale's answer."""
    made = outcomes(n_images, split=split)
    return replace(
        made,
        answers=long_texts([answers] * len(made)),
        full_logprob=np.tile(np.array(nats, np.float32), (len(made), 1)),
    )


def test_a_long_answer_loses_what_the_full_scales_is_less_likely() -> None:
    made = table([OTHER, OTHER, FULL.upper(), OTHER, FULL], [-1.5, -0.7, -9.0, -0.1, -0.5])
    lost = at_scales(made, "agreement")
    assert lost.shape == (len(made), 5)
    # Where it is more likely than at the full scale, or the words are the same, nothing is lost.
    assert lost[0] == pytest.approx([1 - math.exp(-1.0), 1 - math.exp(-0.2), 0, 0, 0], abs=1e-6)
    assert held_to_the_word(made) == 0


def test_a_short_answer_agrees_or_it_does_not() -> None:
    phrase = "one two three four five"
    assert len(normalised(phrase)) == SHORT
    made = table(["one two three four six", "six", f"The {phrase}.", OTHER, phrase], [-0.6] * 5)
    assert at_scales(made, "agreement")[0].tolist() == [1, 1, 0, 1, 0]
    assert at_scales(table([phrase] * 4 + [f"{phrase} six"], [-0.6] * 5), "agreement")[0].tolist() == [0] * 5


def test_a_long_answer_whose_probability_is_not_known_is_held_to_the_word() -> None:
    nan = math.nan
    made = table([OTHER, OTHER, FULL, OTHER, FULL], [nan, -0.7, nan, -0.1, -0.5])
    assert at_scales(made, "agreement")[0] == pytest.approx([1, 1 - math.exp(-0.2), 0, 0, 0], abs=1e-6)
    assert held_to_the_word(made) == len(made)
    of_full = table([OTHER, OTHER, FULL, OTHER, FULL], [-1.0, -0.7, -0.5, -0.1, nan])
    assert at_scales(of_full, "agreement")[0].tolist() == [1, 1, 0, 1, 0]
    assert held_to_the_word(table(["no"] * 4 + ["yes"], [nan] * 5)) == 0
    old = replace(made, full_logprob=np.zeros((0, 0), np.float32))  # as a table of before is read
    assert at_scales(old, "agreement")[0].tolist() == [1, 1, 0, 1, 0]


def test_other_losses_read_neither_words_nor_probabilities() -> None:
    made = table([OTHER, OTHER, OTHER, OTHER, FULL], [-3.0, -2.0, -1.0, -1.0, -0.5])
    np.testing.assert_array_equal(at_scales(made, "net"), made.scores[:, -1:] - made.scores)


def test_certificates_of_agreement_allow_long_answers_other_words() -> None:
    """All that differs is whether the table says how likely the full scale's answer is."""
    router = Router.of(small_fit().bundle)
    grid = Grid(losses=("agreement",), epsilons=(0.1,), deltas=(0.1,))
    known = table([OTHER] * 4 + [FULL], [-0.51, -0.51, -0.505, -0.5, -0.5], 300, "certify")
    (found,) = certify(router, known, grid, families=False).accuracy
    assert found.setting is not None
    assert found.visual_tokens < 100
    assert 0 < found.bound <= 0.1
    bare = replace(known, full_logprob=np.full((len(known), 5), np.nan, np.float32))
    (strict,) = certify(router, bare, grid, families=False).accuracy
    assert strict.visual_tokens > 500  # every other word disagrees: nearly all of it stays at the full scale
