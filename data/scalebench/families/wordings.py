"""Wordings that several families use. The last of each is kept back for shift-wording.

``x`` names a thing with its article ("the red sign"), ``xs`` things without one ("red bars").
"""

from __future__ import annotations

from data.scalebench.vocabulary import PLURALS

Wordings = tuple[str, ...]


def a(x: str) -> str:
    """``x`` with its indefinite article."""
    return f"{'an' if x[0] in 'aeiou' else 'a'} {x}"


def colour_of(x: str) -> Wordings:
    return (
        f"What colour is {x}?",
        f"Which colour does {x} have?",
        f"What is the colour of {x}?",
        f"Which colour is {x}?",
    )


def shape_of(x: str) -> Wordings:
    return (
        f"What shape is {x}?",
        f"Which shape does {x} have?",
        f"What is the shape of {x}?",
        f"Which shape is {x}?",
    )


def says(x: str) -> Wordings:
    return (
        f"What does {x} say?",
        f"Which word is on {x}?",
        f"Read {x}.",
        f"What is written on {x}?",
        f"Which word does {x} say?",
    )


def reads(x: str) -> Wordings:
    """What is in ``x``, a word or a number: a cell, a field."""
    return (
        f"What is in {x}?",
        f"Read {x}.",
        f"What does {x} say?",
        f"What can you read in {x}?",
        f"What is written in {x}?",
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


def exists(x: str, plural: bool = False) -> Wordings:
    """``x`` with its indefinite article: "a red circle"."""
    there = "Are there" if plural else "Is there"
    return (
        f"{there} {x}?",
        f"Can you see {x}?",
        f"Does the picture show {x}?",
        f"{there} {x} in the picture?",
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


def price_of(x: str) -> Wordings:
    are, do = ("are", "do") if x in PLURALS else ("is", "does")
    return (
        f"How much {are} the {x}?",
        f"What is the price of the {x}?",
        f"What {do} the {x} cost?",
        f"How much {do} the {x} cost?",
    )


def item_at(price: int) -> Wordings:
    return (
        f"Which item costs {price}?",
        f"What costs {price}?",
        f"Which item is {price}?",
        f"Which item has the price {price}?",
    )


def bus_goes(bus: int) -> Wordings:
    return (
        f"Where does bus {bus} go?",
        f"To which city does bus {bus} go?",
        f"Which city does bus {bus} go to?",
        f"What is the city of bus {bus}?",
    )


def entry_at(row: str, column: str) -> Wordings:
    return (
        f"What is in row {row}, column {column}?",
        f"What is at {row} and {column}?",
        f"Which entry is in row {row}, column {column}?",
        f"Read row {row}, column {column}.",
        f"What is the entry at row {row} and column {column}?",
    )


def label_of(x: str) -> Wordings:
    return (
        f"Which label belongs to {x}?",
        f"What is the label of {x}?",
        f"Which label does {x} have?",
        f"What label belongs to {x}?",
    )


def most() -> Wordings:
    return (
        "Which label has the largest value?",
        "Which label is the largest?",
        "What has the largest value?",
        "What is the label with the largest value?",
    )


def more(one: str, other: str) -> Wordings:
    return (
        f"Is {one} larger than {other}?",
        f"Is the value of {one} larger than that of {other}?",
        f"Does {one} have a larger value than {other}?",
        f"Is {one} the larger of {one} and {other}?",
    )


def is_so(x: str, so: str) -> Wordings:
    return (
        f"Is {x} {so}?",
        f"Can you see that {x} is {so}?",
        f"Does the picture show that {x} is {so}?",
        f"Is it so that {x} is {so}?",
    )


def background() -> Wordings:
    return (
        "What colour is the background?",
        "What is the background colour?",
        "Which colour does the background have?",
        "What is the colour of the background?",
    )
