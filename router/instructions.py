"""What kind of prompt a question is: the instruction that it ends with.

The official evaluations put one on a line of its own ("Answer the question using a single word or phrase."),
and it decides how long an answer is and what it may say: certificates hold for the kinds that they were made
from. Not covered: instructions within a line, which no rule tells from the question.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

BARE = ""
"""The kind of a question without such a line."""

OPTIONS = "options"
"""The kind of a question that ends with options to choose from."""

LONGEST = 200
"""Characters that are kept of an instruction."""

_OPTION = re.compile(r"\(?[A-Za-z0-9]{1,2}[.):]\s")


def instruction_of(question: str) -> str:
    """Its last line, in lower case and with single spaces; `BARE` where there is but one, or `OPTIONS`.

    >>> instruction_of("What is it?\\nAnswer the question using a single word or phrase.")
    'answer the question using a single word or phrase.'
    """
    lines = [line for line in map(str.strip, question.splitlines()) if line]
    if len(lines) < 2:
        return BARE
    if _OPTION.match(lines[-1]):
        return OPTIONS
    return " ".join(lines[-1].casefold().split())[:LONGEST]


def told(instructions: Iterable[str]) -> str:
    """The kinds in words."""
    names = {BARE: "bare questions", OPTIONS: "questions that end with options"}
    return ", ".join(names.get(kind, f"prompts that end with '{kind}'") for kind in instructions)
