"""Text and values from a client made fit to be quoted in a message, a header or a log line."""

from __future__ import annotations

from typing import Any

_LIMIT = 64


def clean(text: str, limit: int = _LIMIT) -> str:
    """``text`` on one line of at most ``limit`` printable characters; half surrogates become ``?``.

    >>> clean("a" * 100, limit=8)
    'aaaaaaa…'
    """
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else "?" for c in cut)


def shown(value: Any) -> str:
    """``value`` of a JSON document as a message quotes it: short, whatever it is.

    >>> shown(float("nan")), shown("36"), shown([[1]])
    ('nan', "'36'", 'an array')
    """
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, str):
        return f"'{clean(value)}'"
    return clean(repr(value))
