"""RouteLLM's and RouterBench's measures, on ladders where they can be worked out by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.reporting import report
from training.evaluate import Contender, Evaluation, evaluate
from training.evaluation.settings import by_expected_score
from training.report.field import FieldMeasures, field_measures
from training.report.markdown import markdown
from training.report.page import html_page


@dataclass(frozen=True)
class Table:
    """n questions about an image each, at scales that cost their name."""

    scales: tuple[int, ...]
    scores: Any

    @property
    def visual_tokens(self) -> Any:
        return np.tile(np.array(self.scales), (len(self.scores), 1))

    @property
    def flops(self) -> Any:
        return self.visual_tokens

    @property
    def image_index(self) -> Any:
        return np.arange(len(self.scores))

    def sufficient(self, tolerance: float = 0.0) -> Any:
        best = self.scores.max(axis=1, keepdims=True)
        return (self.scores >= best) & (best > 0)


def measured(scores: list[list[float]], scales: tuple[int, ...], expected: Any = None) -> Evaluation:
    table = Table(scales, np.array(scores, np.float64))
    knows = table.scores if expected is None else np.array(expected)
    return evaluate(
        table, [Contender("router", by_expected_score(knows, table.visual_tokens))], draws=200, seed=0
    )


def of(e: Evaluation, name: str) -> FieldMeasures:
    return next(m for m in field_measures(e) if m.name == name)


# Half the questions need the strong model, a quarter do with the weak one, a quarter are hopeless.
TWO = [[0.0, 1.0]] * 40 + [[1.0, 1.0]] * 20 + [[0.0, 0.0]] * 20


def test_with_two_scales_random_mixing_recovers_half_the_gap_on_average() -> None:
    hull = of(measured(TWO, (1, 101)), "fixed hull")
    assert hull.apgr.value == pytest.approx(0.5)
    assert {x: cpt.value for x, cpt in hull.cpt.items()} == pytest.approx({0.5: 0.5, 0.8: 0.8})
    assert hull.aiq.value == pytest.approx((0.25 + 0.75) / 2)


def test_an_oracle_calls_the_strong_model_where_it_is_needed_alone() -> None:
    router = of(measured(TWO, (1, 101)), "router")
    # Its gap closes evenly until half of the questions are sent up, and is closed from there on.
    assert router.apgr.value == pytest.approx(0.5 / 2 + 0.5, abs=0.01)
    assert {x: cpt.value for x, cpt in router.cpt.items()} == pytest.approx({0.5: 0.25, 0.8: 0.4}, abs=0.01)
    assert router.aiq.value == pytest.approx(0.25 + 0.5 * 0.75, abs=0.01)
    assert router.apgr.low <= router.apgr.value <= router.apgr.high


def test_the_strong_model_is_the_best_fixed_scale_and_not_the_largest() -> None:
    e = measured([[0.0, 1.0, 0.0]] * 10 + [[0.0, 1.0, 1.0]] * 10, (1, 11, 111))
    assert e.best_scale == 11
    assert of(e, "fixed hull").apgr.value == pytest.approx(0.5)
    assert of(e, "fixed hull").aiq.value == pytest.approx((0.5 * 10 + 1.0 * 100) / 110, abs=0.01)


def test_what_is_not_reached_is_infinite_and_said_so() -> None:
    # The router thinks that the weak model is always right: it never gets up.
    never = measured(TWO, (1, 101), expected=[[1.0, 0.0]] * len(TWO))
    router = of(never, "router")
    assert router.apgr.value == pytest.approx(0.0)
    assert math.isinf(router.cpt[0.5].value)


def test_without_a_gap_there_is_none_to_recover() -> None:
    e = measured([[1.0, 0.0]] * 5 + [[1.0, 1.0]] * 5, (1, 101))
    assert e.best_scale == 1
    hull = of(e, "fixed hull")
    assert math.isnan(hull.apgr.value)
    assert math.isnan(hull.cpt[0.8].value)
    assert hull.aiq.value == pytest.approx(1.0)


def test_a_ladder_of_one_scale_has_no_measures() -> None:
    assert field_measures(measured([[1.0], [0.0]], (36,))) == ()


def test_page_and_markdown_show_every_curve_with_its_definitions() -> None:
    r = report()
    assert [m.name for m in r.field] == list(r.evaluation.curves)
    for whole in (html_page(r, []), markdown(r)):
        assert "APGR" in whole
        assert "CPT(80%)" in whole
    assert "arXiv 2406.18665" in html_page(r, [])
    assert "arXiv 2403.12031" in html_page(r, [])
