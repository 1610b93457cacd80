"""Several passes of one request: each is charged, and the encoding is paid once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from m3_backbone.cost import Architecture
from training.evaluation.pricing import encoding_flops, price
from training.evaluation.resampling import measure, measure_weighted
from training.evaluation.settings import Settings


def test_every_pass_is_charged_and_what_is_paid_once_is_paid_once() -> None:
    tried = np.array([[[False] * 3, [True, True, False]]])
    s = Settings("hybrid", "price", (0.0,), np.array([[0, 2]], np.int8), tried=tried)
    assert s.passes.tolist() == [[1, 3]]
    costs = {
        "visual_tokens": np.tile([1.0, 9.0, 36.0], (2, 1)),
        "flops": np.tile([101.0, 109.0, 136.0], (2, 1)),
    }
    m = measure(
        [s], np.eye(3)[:2], costs, np.arange(2), paid_once={"flops": np.full((2, 1), 100.0)}, draws=9
    )[0]
    assert m.cost["visual_tokens"][0] == (1 + 46) / 2
    assert m.cost["flops"][0] == (101 + 146) / 2
    assert m.accuracy[0] == 0.5
    np.testing.assert_allclose(m.cost_draws["flops"] - m.cost_draws["visual_tokens"], 100.0, rtol=1e-6)
    whole = measure([s], np.eye(3)[:2], costs, np.arange(2), draws=1)[0]
    assert whole.cost["flops"][0] == (101 + 346) / 2


def test_passes_leave_the_weights_of_questions_alone() -> None:
    rng = np.random.default_rng(8)
    tried = rng.random((1, 40, 2)) < 0.5
    s = Settings("hybrid", "price", (0.0,), np.ones((1, 40), np.int8), tried=tried)
    scores, costs = rng.random((40, 2)), {"flops": 5 + rng.random((40, 2))}
    once = {"flops": np.full((40, 1), 5.0)}
    (plain,) = measure([s], scores, costs, np.arange(40), paid_once=once, draws=20)
    ((weighted,),) = measure_weighted(
        [s], scores, costs, np.arange(40), [np.full(40, 2.0)], paid_once=once, draws=20
    )
    np.testing.assert_allclose(weighted.accuracy, plain.accuracy)
    np.testing.assert_allclose(weighted.cost["flops"], plain.cost["flops"])
    np.testing.assert_allclose(weighted.cost_draws["flops"], plain.cost_draws["flops"], rtol=1e-5)


@dataclass(frozen=True)
class Sizes:
    """The part of an outcome table that FLOPs follow from."""

    image_views: NDArray[np.int64]
    image_index: NDArray[np.int64]
    visual_tokens: NDArray[np.int64]
    text_tokens: NDArray[np.int64]
    answer_tokens: NDArray[np.int64]
    flops: NDArray[np.int64]


def priced(views: NDArray[np.int64], answer_tokens: NDArray[np.int64]) -> Sizes:
    """Sixty requests at five scales, with the FLOPs of LLaVA-1.5-7B."""
    rng = np.random.default_rng(2)
    table = Sizes(
        image_views=views,
        image_index=np.arange(60),
        visual_tokens=np.array([1, 9, 36, 144, 576]) * views[:, None],
        text_tokens=rng.integers(20, 60, 60),
        answer_tokens=answer_tokens,
        flops=np.zeros((60, 5), np.int64),
    )
    return replace(table, flops=price(table, Architecture.llava_7b()))


def test_what_an_encoding_costs_can_be_read_off_a_tables_flops() -> None:
    rng = np.random.default_rng(1)
    for views in (np.ones(60, np.int64), rng.integers(1, 6, 60)):
        table = priced(views, rng.integers(1, 9, (60, 5)))
        known = encoding_flops(table, Architecture.llava_7b())
        assert known.shape == (60, 1)
        np.testing.assert_allclose(encoding_flops(table), known, rtol=1e-3)


def test_where_it_cannot_be_read_off_every_pass_pays_for_an_encoding() -> None:
    ones = np.ones(60, np.int64)
    alike = priced(ones, np.full((60, 5), 3))  # the last layer of every step looks like an encoding
    assert not encoding_flops(alike).any()
    varied = priced(ones, np.random.default_rng(1).integers(1, 9, (60, 5)))
    assert not encoding_flops(replace(varied, flops=varied.visual_tokens * 10**6)).any()
