"""Short answers that say the same, and those that do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.agreement import agrees, normalised


@pytest.mark.parametrize(
    ("answer", "other"),
    [
        ("Red", "red"),
        ("red.", " red "),
        ("The red circle", "a red circle!"),
        ('"STOP"', "stop"),
        ("12.50", "12.5"),
        ("1,200", "1200"),
        ("7.0", "7"),
        (".5", "0.5"),
        ("A.", "A"),
        ("(b)", "B"),
        ("ﬁve", "five"),
        ("", "  "),
    ],
)
def test_the_same_in_another_spelling_agrees(answer: str, other: str) -> None:
    assert agrees(answer, other)
    assert agrees(other, answer)


@pytest.mark.parametrize(
    ("answer", "other"),
    [
        ("red", "blue"),
        ("red circle", "circle red"),
        ("12.5", "125"),
        ("1,2", "12"),
        (".5", "5"),
        ("-3", "3"),
        ("5%", "5"),
        ("$5", "5"),
        ("A", "the"),
        ("", "no"),
        ("?", "!"),
        ("-", "-0"),
        ("-", "0"),
    ],
)
def test_another_answer_does_not(answer: str, other: str) -> None:
    assert not agrees(answer, other)


@given(st.text(max_size=40))
def test_every_text_agrees_with_itself_and_with_what_is_made_of_it(text: str) -> None:
    assert agrees(text, text)
    assert agrees(text, f"  {text} ")
    words = normalised(text)
    assert bool(words) == bool(text.split())
