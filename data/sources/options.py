"""Multiple choice: the letter of the right choice, checked; references are the letter, then the choices."""

from __future__ import annotations

import string
from collections.abc import Sequence

from data.sources.files import Row, SourceError


def references(row: Row, name: str, choices: Sequence[str]) -> tuple[str, ...]:
    """(letter, *choices) where ``name`` holds a letter; raises `SourceError` for one that no choice has."""
    letter, letters = row.text(name).strip(), string.ascii_uppercase[: len(choices)]
    if len(letter) != 1 or letter not in letters:
        raise SourceError(f"{row.where}: {name} is {letter!r}; there are {len(choices)} choices: {letters}.")
    return (letter, *choices)


def by_place(row: Row, name: str, choices: Sequence[str]) -> tuple[str, ...]:
    """(letter, *choices) where ``name`` holds the place of the right choice, from 0."""
    place = row.values.get(name)
    if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(choices):
        raise SourceError(f"{row.where}: {name} is {place!r}, not a place among {len(choices)} choices.")
    return (string.ascii_uppercase[place], *choices)
