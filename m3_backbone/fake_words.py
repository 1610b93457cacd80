"""Words as the fake engine counts and numbers them: the same in every process, whatever the hash seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

_PROMPT_TOKENS = 5  # what the template adds to the words
_VOCABULARY = 1000
_FIRST_WORD = 3  # smaller ids are special


def text_tokens(turns: Sequence[str]) -> int:
    """Prompt tokens of ``turns``: one per word, and the template's."""
    return _PROMPT_TOKENS + sum(len(turn.split()) for turn in turns)


def token_id(word: str) -> int:
    return _FIRST_WORD + stable_hash(word) % (_VOCABULARY - _FIRST_WORD)


def stable_hash(text: str) -> int:
    """64 bits of SHA-256."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8], "big")
