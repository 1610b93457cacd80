"""Whether two short answers say the same: the match by which a routed answer is held against the full one.

Not covered: paraphrases. Of two sentences that mean the same and are worded differently it says that they
disagree; of long answers it counts too little agreement, never too much. Certificates therefore hold long
answers against each other by their probability, where that was recorded (`training.certificates.losses`).
"""

from __future__ import annotations

import re
import string
import unicodedata

SHORT = 5
"""Words of an answer at most that is short: a name, a number, a phrase. A longer one is a sentence."""

_ARTICLES = frozenset({"a", "an", "the"})
_AROUND = string.punctuation.translate(str.maketrans("", "", "%$-")) + "“”‘’«»…"
_BEFORE = _AROUND.replace(".", "")  # of ".5" the point is not around the word but in it
_NUMBER = re.compile(r"(-?)(\d{1,3}(?:,\d{3})+|\d*)(?:\.(\d+))?")


def agrees(answer: str, other: str) -> bool:
    """Equal but for case, white space, articles, punctuation around words, and the spelling of a number."""
    return normalised(answer) == normalised(other)


def normalised(answer: str) -> tuple[str, ...]:
    """The words that count.

    >>> normalised("The Red circle."), normalised("1,200.50")
    (('red', 'circle'), ('1200.5',))
    """
    words = unicodedata.normalize("NFKC", answer).casefold().split()
    plain = [word for word in map(_plain, words) if word]
    kept = [word for word in plain if word not in _ARTICLES]
    return tuple(kept or plain or words)  # "A" alone is a letter of multiple choice, "?" alone an answer


def _plain(word: str) -> str:
    """``word`` without punctuation around it; a number without its thousands' commas and last zeros."""
    word = word.lstrip(_BEFORE).rstrip(_AROUND)
    number = _NUMBER.fullmatch(word)
    if number is None or not any(number.groups()[1:]):  # a dash is none
        return word
    sign, whole, part = number.groups(default="")
    part = part.rstrip("0")
    return f"{sign}{whole.replace(',', '') or '0'}{'.' * bool(part)}{part}"
