"""Wordings that several families use. The last of each is kept back for shift-wording.

``x`` names a thing with its article ("the red sign"), ``xs`` things without one ("red bars").
"""

from __future__ import annotations

Wordings = tuple[str, ...]


def colour_of(x: str) -> Wordings:
    return (
        f"What colour is {x}?",
        f"Which colour does {x} have?",
        f"What is the colour of {x}?",
        f"Which colour is {x}?",
    )


def says(x: str) -> Wordings:
    return (
        f"What does {x} say?",
        f"Which word is on {x}?",
        f"Read {x}.",
        f"What is written on {x}?",
        f"Which word does {x} say?",
    )


def how_many(xs: str) -> Wordings:
    return (
        f"How many {xs} are there?",
        f"How many {xs} can you see?",
        f"Count the {xs}.",
        f"What is the number of {xs}?",
        f"How many {xs} does the picture show?",
    )


def where(x: str) -> Wordings:
    return (
        f"Where is {x}?",
        f"In which part of the picture is {x}?",
        f"Where can you see {x}?",
        f"Where in the picture is {x}?",
    )


def exists(x: str) -> Wordings:
    """``x`` with its indefinite article: "a red circle"."""
    return (
        f"Is there {x}?",
        f"Can you see {x}?",
        f"Does the picture show {x}?",
        f"Is there {x} in the picture?",
    )


def value_of(x: str) -> Wordings:
    """A number that belongs to ``x``: "bread", "row rice, column mon"."""
    return (
        f"What is the value of {x}?",
        f"How much is {x}?",
        f"Which number belongs to {x}?",
        f"Which value does {x} have?",
        f"What number is the value of {x}?",
    )


def background() -> Wordings:
    return (
        "What colour is the background?",
        "What is the background colour?",
        "Which colour does the background have?",
        "What is the colour of the background?",
    )
