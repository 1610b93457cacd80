"""The families of pictures: name -> module with ``paint`` and ``KINDS`` (see `paint`)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Protocol, cast

from data.scalebench.families.paint import Painting
from data.scalebench.style import Style

FAMILIES = (
    "scenes",
    "counting",
    "relations",
    "signs",
    "pages",
    "receipts",
    "tables",
    "charts",
    "maps",
    "screens",
)
"""Families in use."""
HELD_OUT = ("shelves", "boards")
"""Families that only shift-families draws."""


class Family(Protocol):
    """A module of this package."""

    KINDS: Mapping[str, float]

    def paint(self, rng: random.Random, style: Style) -> Painting: ...


@cache
def family(name: str) -> Family:
    """The family ``name``; raises `ValueError` for one that does not exist."""
    if name not in FAMILIES + HELD_OUT:
        raise ValueError(f"ScaleBench has no family {name!r}. Families: {', '.join((*FAMILIES, *HELD_OUT))}.")
    return cast(Family, import_module(f"data.scalebench.families.{name}"))
