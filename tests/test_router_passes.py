"""The passes of one request: bundles with a second look, first prices, and when an answer is thought over."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache
from math import log
from pathlib import Path
from typing import Any

import pytest

from data.records import OutcomeTable
from m3_backbone.types import Generation
from router import Bundle, Constraints, Router, embedded_bundle
from router.bundle import MANIFEST, PREDICTOR
from router.errors import BundleCorrupt, ConstraintError
from router.escalation import ESCALATION
from router.policy import Decision
from tests.cascading import small_escalation
from tests.routing import outcomes, small_fit


@cache
def bundle() -> Bundle:
    return replace(small_fit().bundle, escalation=small_escalation().escalation)


@cache
def table() -> OutcomeTable:
    return outcomes(30, split="dev")


def answered(probability: float, tokens: int = 3) -> Generation:
    """An answer whose tokens are all that likely."""
    return Generation(
        "a", (5,) * tokens, (log(probability),) * tokens, max(0.0, 2 * probability - 1), "stop", 30, 9
    )


def asked(i: int = 0, **constraints: Any) -> tuple[Router, Decision, Constraints]:
    router, limits = Router.of(bundle()), Constraints(**constraints)
    return router, router.route(table().route_inputs(i), limits), limits


def then(probability: float, i: int = 0, tried: tuple[int, ...] = (), **constraints: Any) -> tuple[int, int]:
    """(scale of the first decision, of the next one)."""
    router, first, limits = asked(i, **constraints)
    inputs = table().route_inputs(i)
    return first.scale, router.reconsider(first, answered(probability), inputs, limits, tried).scale


def test_a_bundle_with_a_second_look_is_three_files_and_comes_back_whole(tmp_path: Path) -> None:
    bundle().write(tmp_path / "b")
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == [ESCALATION, MANIFEST, PREDICTOR]
    again = Bundle.load(tmp_path / "b")
    assert again.escalation == bundle().escalation
    assert again.version == bundle().version != small_fit().bundle.version
    small_fit().bundle.write(tmp_path / "b")
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == [MANIFEST, PREDICTOR]


def test_the_second_graph_is_part_of_the_version_and_of_what_is_verified(tmp_path: Path) -> None:
    known = bundle().escalation
    assert known is not None
    other = replace(bundle(), escalation=replace(known, onnx=known.onnx + b"x"))
    assert other.version != bundle().version
    bundle().write(tmp_path / "b")
    (tmp_path / "b" / ESCALATION).write_bytes(known.onnx + b"x")
    with pytest.raises(BundleCorrupt, match=r"escalation\.onnx at .* was altered or damaged"):
        Bundle.load(tmp_path / "b")
    (tmp_path / "b" / ESCALATION).unlink()
    with pytest.raises(BundleCorrupt, match=r"has no escalation\.onnx"):
        Bundle.load(tmp_path / "b")


def test_bundles_of_before_keep_their_version() -> None:
    manifest = (embedded_bundle() / MANIFEST).read_bytes()
    loaded = Bundle.load(embedded_bundle())
    if loaded.escalation is None:
        assert loaded.version == hashlib.sha256(manifest).hexdigest()[:12]


def test_the_first_look_pays_the_price_of_a_cascade() -> None:
    router, first, _ = asked(cascade=True, token_budget=40)
    assert first.policy == "cascade"
    assert first.reason.startswith("first pass of a cascade: ")
    assert not first.certified
    known = router.bundle.escalation
    assert known is not None
    price = known.first_price(known.prices.for_budget(40))
    assert first.scale == router.route(table().route_inputs(0), Constraints(price=price)).scale


def test_an_unsure_answer_is_made_again_at_a_larger_scale_and_a_sure_one_stays() -> None:
    unsure = [then(0.1, i, cascade=True, price=1e-4) for i in range(40)]
    sure = [then(0.98, i, cascade=True, price=1e-4) for i in range(40)]
    assert sum(after > before for before, after in unsure) > 10
    assert sum(after > before for before, after in unsure) > 2 * sum(after > before for before, after in sure)
    assert all(after >= before for before, after in (*unsure, *sure))


def test_what_follows_an_answer_says_why() -> None:
    router, first, limits = asked(0, cascade=0.5, price=1.0)
    second = router.reconsider(first, answered(0.4), table().route_inputs(0), limits)
    assert (first.scale, second.scale) == (1, 9)
    assert second.policy == "cascade"
    assert second.reason == "the answer at scale 1 was unsure (0.400 below 0.5)"
    assert second.probabilities == first.probabilities
    assert router.reconsider(first, answered(0.6), table().route_inputs(0), limits) is first


def test_a_learned_step_says_what_it_expects() -> None:
    for i in range(40):
        router, first, limits = asked(i, cascade=True, price=1e-4)
        second = router.reconsider(first, answered(0.05), table().route_inputs(i), limits)
        if second is not first:
            assert "the expected score is" in second.reason
            assert f"worth {second.scale} more visual tokens" in second.reason
            return
    pytest.fail("no answer was thought over")


@pytest.mark.parametrize(
    "constraints",
    [
        {"cascade": False},
        {"cascade": True, "scale": 1},
        {"cascade": True, "greedy": False},
        {"cascade": True, "kind": "conversation"},
        {"cascade": 0.9, "max_scale": 1},
        {"cascade": 0.9, "max_visual_tokens": 9, "price": 1.0},  # 1 and 9 are 10 together
    ],
)
def test_what_is_never_thought_over(constraints: dict[str, Any]) -> None:
    before, after = then(0.1, **constraints)
    assert before == after
    assert (asked(**constraints)[1].policy == "cascade") == (
        "max_scale" in constraints or "max_visual_tokens" in constraints
    )


def test_all_passes_together_keep_to_the_ceiling_on_tokens() -> None:
    limits: dict[str, Any] = {"cascade": 0.9, "price": 1.0}
    assert then(0.1, max_visual_tokens=10, **limits) == (1, 9)
    assert then(0.1, max_visual_tokens=9, **limits) == (1, 1)


def test_there_are_three_passes_at_most() -> None:
    router, first, limits = asked(cascade=0.9, price=1.0)
    inputs = table().route_inputs(0)
    second = router.reconsider(first, answered(0.1), inputs, limits)
    third = router.reconsider(second, answered(0.1), inputs, limits, [first.scale])
    assert [first.scale, second.scale, third.scale] == [1, 9, 36]
    assert router.reconsider(third, answered(0.1), inputs, limits, [1, 9]) is third


def test_a_bundle_without_a_second_look_refuses_a_learned_cascade_and_takes_a_threshold() -> None:
    plain, inputs = Router.of(small_fit().bundle), table().route_inputs(0)
    with pytest.raises(ConstraintError, match="no second look") as caught:
        plain.route(inputs, Constraints(cascade=True))
    assert caught.value.code == "no_second_look"
    first = plain.route(inputs, Constraints(cascade=0.9, price=1.0))
    assert plain.reconsider(first, answered(0.1), inputs, Constraints(cascade=0.9, price=1.0)).scale == 9


def test_a_fallback_is_not_thought_over() -> None:
    router, first, limits = asked(cascade=0.9, price=1.0)
    fell = replace(first, fallback="the image is unlike those the router knows")
    assert router.reconsider(fell, answered(0.1), table().route_inputs(0), limits) is fell


@pytest.mark.parametrize("value", [0, 1.0, -0.5, "yes", None, float("nan")])
def test_a_cascade_is_true_false_or_a_probability(value: Any) -> None:
    with pytest.raises(ConstraintError, match="cascade must be true, false or a number above 0 and below 1"):
        Constraints(cascade=value)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"cascade": 0.8, "accuracy_drop": 0.02}, "No cascade with a threshold of its own is certified"),
        ({"cascade": 0.8, "token_budget": 36}, "would bound the first pass alone of a cascade below 0.8"),
        ({"cascade": True, "token_budget": 36, "delta": 0.05}, "No token_budget of a cascade is certified"),
    ],
)
def test_what_a_cascade_cannot_keep_is_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ConstraintError, match=said) as caught:
        Constraints(**asked)
    assert (caught.value.code, caught.value.param) == ("conflicting_constraints", "cascade")
