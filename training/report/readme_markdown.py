"""Markdown for the README: a paragraph, and a table of texts that a model or a person wrote."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

WIDTH = 120
"""Characters of a line of a paragraph at most."""


def paragraph(text: str) -> str:
    """``text`` on lines of at most `WIDTH` characters; words stay whole."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """``head`` and ``rows``, which are as long as it is, without white space around."""
    lines = [head, ["---"] * len(head), *rows]
    assert all(len(line) == len(head) for line in lines), "a row is not as long as the head"
    return "\n".join(f"| {' | '.join(cell(value) for value in line)} |" for line in lines)


def cell(value: str) -> str:
    """``value`` on one line that ends no cell."""
    return " ".join(value.split()).replace("|", "\\|")
