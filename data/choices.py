"""Multiple choice: from what a model wrote to the letter that it meant, as each official evaluator reads it.

References are ``{"choices": [...], "answer": "B"}``, or in a sample's ``answers`` the letter followed by the
choices. Letters are A, B, C, ... in the order of the choices.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence

References = Sequence[str] | Mapping[str, object]


def answer_and_choices(references: References) -> tuple[str, tuple[str, ...]]:
    """(letter, choices) of either form; raises ValueError for anything else."""
    if isinstance(references, Mapping):
        answer, choices = references.get("answer"), references.get("choices")
        if isinstance(answer, str) and isinstance(choices, Sequence) and not isinstance(choices, str):
            return answer, tuple(str(choice) for choice in choices)
    elif references and not isinstance(references, str) and all(isinstance(r, str) for r in references):
        return references[0], tuple(references[1:])
    raise ValueError(f"Multiple choice needs a letter and the choices, got {references!r}.")


def scienceqa_llava(text: str, choices: Sequence[str]) -> str:
    """LLaVA's eval_science_qa.py: a bare letter, ``B. ...``, or ``The answer is B.``; otherwise FAILED."""
    letters = "ABCDE"
    if text and text in tuple(letters):
        return text
    if len(text) >= 3 and text[0] in letters and text[1:3] == ". ":
        return text[0]
    found = re.findall(r"The answer is ([A-Z]).", text)
    return found[0] if len(found) == 1 else "FAILED"


def mmbench(text: str, choices: Sequence[str]) -> str | None:
    """MMBench's can_infer: one letter standing free, else one choice's text in the answer; None otherwise."""
    return _mmbench_letter(text) or _mmbench_text(text, choices)


_MMBENCH_MARKS = (
    *(("", ""), ("", "."), ("", ","), ("", ":"), ("", ")"), ("", ").")),
    *(("(", ")"), ("(", ")."), (":", ""), (":", ","), (":", "."), (":", ")"), (":", ").")),
)


def _mmbench_letter(text: str) -> str | None:
    if "Failed to obtain answer via API" in text:
        return None
    words = text.split()
    for before, after in _MMBENCH_MARKS:
        found = [c for c in "ABCDE" if before + c + after in words]
        if len(found) != 1:
            continue
        if not before + after and "A" in words and len(words) > 3:
            continue  # "A" may be the article
        return found[0]
    return None


def _mmbench_text(text: str, choices: Sequence[str]) -> str | None:
    lower = text.lower()
    found = [c for c, choice in zip(string.ascii_uppercase, choices, strict=False) if choice.lower() in lower]
    return found[0] if len(found) == 1 else None


def mmmu(text: str, choices: Sequence[str]) -> str | None:
    """MMMU's parse_multi_choice_response; None where the official one guesses at random."""
    letters = string.ascii_uppercase[: len(choices)]
    for mark in ",.!?;:'":
        text = text.strip(mark)
    text = f" {text} "
    for form, last in (("({})", "({})"), ("{} ", " {} "), ("{}.", " {} ")):
        found = [c for c in letters if form.format(c) in text]
        if found:
            return max(found, key=lambda c: (text.rfind(last.format(c)), -letters.index(c)))
    if len(text.split()) > 5:
        lower = text.lower()
        by_text = {c: choice.lower() for c, choice in zip(letters, choices, strict=True)}
        found = [c for c in letters if by_text[c] in lower]
        if found:
            return max(found, key=lambda c: (lower.rfind(by_text[c]), -letters.index(c)))
    return None


def seedbench(text: str, choices: Sequence[str]) -> str:
    """lmms-eval's SEED-Bench: the first character."""
    return text.strip()[:1]


def ai2d(text: str, choices: Sequence[str]) -> str:
    """lmms-eval's AI2D filter: the capital letter before a full stop at the start, else the whole text."""
    found = re.match(r"^\s*([A-Z])\.", text)
    return found.group(1) if found else text.strip()
