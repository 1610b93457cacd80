"""Values of a manifest, taken only as what they are: float() would take "nan" and True."""

from __future__ import annotations

from typing import Any


def number(value: Any) -> float:
    """Raises `TypeError` for what is no JSON number."""
    if type(value) is not float and type(value) is not int:
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def numbers(values: Any) -> tuple[float, ...]:
    return tuple(number(value) for value in values)


def whole(value: Any) -> int:
    """Raises `TypeError` for what is no JSON integer."""
    if type(value) is not int:
        raise TypeError(f"{value!r} is not a whole number")
    return value


def text(value: Any) -> str:
    """Raises `TypeError` for what is no JSON string."""
    if type(value) is not str:
        raise TypeError(f"{value!r} is not a text")
    return value
