from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from m3_backbone.rows import MIN_HEAD, Extent, Member, Row, shared_head, similar, slots, waves

HEAD = tuple(range(MIN_HEAD))


def row(prefix: int, *members: tuple[int, int], first: int = 0, head: tuple[int, ...] = ()) -> Row:
    """members: (prompt tokens, new tokens) of each, numbered from ``first``."""
    made = [
        Member(first + n, torch.zeros(suffix, dtype=torch.int64), room)
        for n, (suffix, room) in enumerate(members)
    ]
    return Row(torch.zeros(prefix, 1), made, head)


def test_slots_are_counted_with_padding_and_to_the_last_step() -> None:
    rows = [row(10, (3, 5), (4, 1)), row(12, (2, 2))]
    assert Extent.of(rows) == Extent(rows=2, prefix=12, packed=7, columns=2, steps=4)
    assert slots(rows) == 2 * (12 + 7 + 2 * 4)
    assert slots([row(10, (3, 1))]) == 13


def test_rows_of_about_one_length_make_a_group() -> None:
    lengths = [600, 9, 36, 5, 620, 40, 0]
    groups = similar([row(n, (1, 1)) for n in lengths])
    assert [[len(member.prefix) for member in group] for group in groups] == [
        [0, 5],
        [9],
        [36, 40],
        [600, 620],
    ]


def test_a_head_is_shared_when_it_is_long_and_two_rows_have_it() -> None:
    assert shared_head([row(40, (1, 1), head=HEAD), row(30, (1, 1), head=HEAD), row(0, (1, 1))]) == HEAD
    assert shared_head([row(40, (1, 1), head=HEAD), row(0, (1, 1))]) == ()
    assert shared_head([row(40, (1, 1), head=HEAD[1:])] * 2) == ()
    assert shared_head([row(40, (1, 1), head=HEAD), row(40, (1, 1), head=(*HEAD, 9))]) == ()


@given(
    shapes=st.lists(
        st.tuples(
            st.integers(0, 80),
            st.lists(st.tuples(st.integers(1, 30), st.integers(1, 20)), min_size=1, max_size=5),
        ),
        max_size=8,
    ),
    spare=st.integers(0, 400),
)
@settings(max_examples=150, deadline=None)
def test_waves_hold_every_request_once_in_order_and_keep_to_the_budget(
    shapes: list[tuple[int, list[tuple[int, int]]]], spare: int
) -> None:
    rows, count = [], 0
    for prefix, members in shapes:
        rows.append(row(prefix, *members, first=count, head=HEAD if prefix >= MIN_HEAD else ()))
        count += len(members)
    largest = max((prefix + n + room - 1 for prefix, members in shapes for n, room in members), default=1)
    budget = largest + spare
    portions = list(waves(rows, budget))
    assert [m.request for portion in portions for part in portion for m in part.members] == list(range(count))
    assert all(slots(portion) <= budget for portion in portions)


def test_what_fits_together_runs_together() -> None:
    rows = [row(20, (3, 4), (2, 4)), row(22, (3, 4), first=2), row(70, (3, 4), first=3)]
    assert [len(portion) for portion in waves(rows, slots(rows))] == [3]
    assert [len(portion) for portion in waves(rows, slots(rows) - 1)] == [2, 1]
