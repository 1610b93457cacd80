"""Kinds of prompts: which ones certificates speak of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from data.sources.prompts import PROMPTS, asked
from router import Constraints, Router
from router.certificates import Certificates, TokenBounds
from router.instructions import BARE, LONGEST, OPTIONS, instruction_of, told
from tests.certified import GRID
from tests.routing import outcomes, small_fit

SHORT = "Answer the question using a single word or phrase."


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("What is it?", BARE),
        ("  What is it?  \n\n", BARE),
        ("", BARE),
        (f"What is it?\n{SHORT}", SHORT.lower()),
        ("What is it?\r\n  Answer the   question using A single word or phrase. \n", SHORT.lower()),
        ("Which?\nA. red\nB. blue", OPTIONS),
        ("Which?\n(a) red\n(b) blue", OPTIONS),
        ("What is it?\n" + "word " * 100, ("word " * 100)[:LONGEST]),
    ],
)
def test_a_kind_is_the_instruction_that_a_prompt_ends_with(question: str, kind: str) -> None:
    assert instruction_of(question) == kind


def test_the_official_forms_that_ask_for_the_same_are_of_one_kind() -> None:
    kinds = {name: instruction_of(asked(name, "What?", ("red", "blue"), "It is so.")) for name in PROMPTS}
    assert kinds["short_answer"] == kinds["vizwiz"] == SHORT.lower()
    assert len({kinds[name] for name in ("option_letter", "scienceqa", "mmbench", "mmmu")}) == 1
    assert len(set(kinds.values())) == 4


def test_kinds_are_told_in_words() -> None:
    assert told((BARE, OPTIONS, "be brief.")) == (
        "bare questions, questions that end with options, prompts that end with 'be brief.'"
    )


def certified(*instructions: str) -> Router:
    certificates = replace(GRID, instructions=instructions)
    return Router.of(replace(small_fit().bundle, certificates=certificates))


def test_what_a_prompt_of_an_unknown_kind_is_promised_the_full_scale_keeps() -> None:
    inputs = outcomes(3, split="dev").route_inputs(0)
    drop = Constraints(accuracy_drop=0.02, delta=0.1)
    known = certified(BARE).route(inputs, drop)
    assert (known.certified, known.scale < 576) == (True, True)
    strange = replace(inputs, question_text=f"What is it?\n{SHORT}")
    unknown = certified(BARE).route(strange, drop)
    assert (unknown.scale, unknown.certified) == (576, False)
    assert "certificates speak of bare questions alone" in unknown.reason
    assert certified(BARE, SHORT.lower()).route(strange, drop).scale == known.scale
    assert Router.of(replace(small_fit().bundle, certificates=GRID)).route(strange, drop).certified


def test_without_a_promise_the_kind_of_a_prompt_chooses_nothing() -> None:
    inputs = outcomes(3, split="dev").route_inputs(0)
    strange = replace(inputs, question_text=f"What is it?\n{SHORT}")
    for asked_for in (None, Constraints(price=0.001), Constraints(token_budget=40)):
        one, other = (certified(BARE).route(x, asked_for) for x in (inputs, strange))
        assert one == other


def test_a_budget_with_a_delta_is_kept_but_not_certified_of_an_unknown_kind() -> None:
    inputs = outcomes(3, split="dev").route_inputs(0)
    strange = replace(inputs, question_text=f"What is it?\n{SHORT}")
    budget = Constraints(token_budget=120, delta=0.05)
    bundle = small_fit().bundle
    bounds = TokenBounds(0.05, 1000, tuple(550.0 - 5 * k for k in range(len(bundle.prices.prices))))
    certificates = replace(GRID, tokens=(bounds,), instructions=(BARE,))
    router = Router.of(replace(bundle, certificates=certificates))
    one, other = (router.route(x, budget) for x in (inputs, strange))
    assert (one.scale, one.certified, other.certified) == (other.scale, True, False)


def test_kinds_are_kept_in_the_manifest_and_older_ones_name_none() -> None:
    kinds = replace(GRID, instructions=(BARE, SHORT.lower()))
    assert Certificates.from_json(kinds.to_json(), 4) == kinds
    assert Certificates.from_json(GRID.to_json(), 4).instructions is None
    assert Certificates.from_json(GRID.to_json(), 4).know("anything")
