"""The ladder: what can be one, what is on it, and the pooling that it stands for."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3_backbone.scales import Ladder, ScaleError

M3 = Ladder((1, 9, 36, 144, 576))


@st.composite
def ladders(draw: st.DrawFn) -> Ladder:
    """Any ladder: a grid's side, and some of its divisors, the side itself among them."""
    grid = draw(st.integers(1, 48))
    divisors = [side for side in range(1, grid) if grid % side == 0]
    chosen = draw(st.lists(st.sampled_from(divisors), unique=True)) if divisors else []
    return Ladder.parse(side * side for side in [*chosen, grid])


def test_the_ladder_of_m3_has_the_papers_grids() -> None:
    assert [M3.side(scale) for scale in M3] == [1, 3, 6, 12, 24]
    assert [M3.factor(scale) for scale in M3] == [24, 8, 4, 2, 1]
    assert (M3.smallest, M3.full, M3.grid_side, len(M3)) == (1, 576, 24, 5)


def test_a_config_may_list_its_scales_in_any_order() -> None:
    assert Ladder.parse([576, 1, 36, 9, 144]) == M3


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ((), "The ladder is empty"),
        ((0, 9), "Scale 0 is not a square number"),
        ((-4, 9), "Scale -4 is not a square number"),
        ((1, 8), "Scale 8 is not a square number"),
        ((9, 1), r"\[9, 1\] is not strictly increasing"),
        ((1, 1, 9), "is not strictly increasing"),
        ((4, 9), "Scale 4 does not divide the grid: its side 2 does not divide 3"),
        ((1, 2.0), "holds something that is not an integer"),
        ((True, 9), "holds something that is not an integer"),
        (("1", "9"), "holds something that is not an integer"),
    ],
)
def test_what_cannot_be_a_ladder_is_refused_with_its_value(scales: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ScaleError, match=message):
        Ladder(scales)


def test_a_ladder_is_read_as_people_type_it() -> None:
    for text in ("1,9,36,144,576", "[576, 144, 36, 9, 1]", " 1 ,9,36, 144,576 "):
        assert Ladder.from_text(text) == M3
    for text in ("", "1,9,", "1;9", "1.0,9", "one", "-1,9", "٣"):
        with pytest.raises(ScaleError, match="not made of numbers"):
            Ladder.from_text(text)
    with pytest.raises(ScaleError, match="Scale 8 is not a square"):
        Ladder.from_text("1,8")


@pytest.mark.parametrize("scale", [37, 0, -1, 575, True, 9.0, "9", None])
def test_what_is_not_on_the_ladder_is_refused_and_the_valid_scales_named(scale: object) -> None:
    assert scale not in M3
    with pytest.raises(ScaleError, match=r"not on the ladder\. Valid scales: 1, 9, 36, 144, 576\."):
        M3.validate(scale)


@pytest.mark.parametrize(
    ("tokens", "scale"), [(1, 1), (8, 1), (9, 9), (143, 36), (144, 144), (576, 576), (10**9, 576)]
)
def test_a_ceiling_gives_the_largest_scale_below_it(tokens: int, scale: int) -> None:
    assert M3.at_most(tokens) == scale


def test_a_ceiling_below_the_smallest_scale_is_refused() -> None:
    with pytest.raises(ScaleError, match="at most 3 visual tokens: the smallest is 4"):
        Ladder((4, 16)).at_most(3)


def test_ladders_are_values() -> None:
    assert {M3: "a"}[Ladder.parse(M3)] == "a"
    with pytest.raises(AttributeError):
        M3.scales = (1,)  # type: ignore[misc]


@given(ladders())
def test_every_scale_pools_the_whole_grid_exactly(ladder: Ladder) -> None:
    for scale in ladder:
        assert ladder.side(scale) * ladder.factor(scale) == ladder.grid_side
        assert ladder.side(scale) ** 2 == scale
        assert ladder.scales[ladder.index(scale)] == ladder.validate(scale) == scale
    assert ladder.factor(ladder.full) == 1
    assert ladder.smallest == min(ladder)


@given(ladders(), st.integers(1, 3000))
def test_a_ceiling_is_never_exceeded_and_never_wasted(ladder: Ladder, tokens: int) -> None:
    if tokens < ladder.smallest:
        with pytest.raises(ScaleError):
            ladder.at_most(tokens)
        return
    scale = ladder.at_most(tokens)
    assert scale <= tokens
    assert all(other <= scale or other > tokens for other in ladder)


@given(st.lists(st.integers(-5, 700), max_size=6))
def test_a_list_of_numbers_is_a_valid_ladder_or_a_scale_error(numbers: list[int]) -> None:
    try:
        ladder = Ladder.parse(numbers)
    except ScaleError:
        return
    assert sorted(numbers) == list(ladder)
    assert all(math.isqrt(scale) ** 2 == scale for scale in ladder)
