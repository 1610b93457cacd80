"""The families of pictures: name -> module with ``paint``, ``KINDS`` and ``ASKED`` (see `paint`)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Protocol

from data.scalebench.families import (
    boards,
    charts,
    counting,
    maps,
    pages,
    receipts,
    relations,
    scenes,
    screens,
    shelves,
    signs,
    tables,
)
from data.scalebench.families.paint import Painting
from data.scalebench.style import Style


class Family(Protocol):
    """A module of this package."""

    @property
    def KINDS(self) -> Mapping[str, float]: ...  # noqa: N802 - a constant of the module

    @property
    def ASKED(self) -> Mapping[str, float]: ...  # noqa: N802

    def paint(self, rng: random.Random, style: Style) -> Painting: ...


_IN_USE: dict[str, Family] = {
    "scenes": scenes,
    "counting": counting,
    "relations": relations,
    "signs": signs,
    "pages": pages,
    "receipts": receipts,
    "tables": tables,
    "charts": charts,
    "maps": maps,
    "screens": screens,
}
_HELD_OUT: dict[str, Family] = {"shelves": shelves, "boards": boards}
FAMILIES = tuple(_IN_USE)
"""Families in use."""
HELD_OUT = tuple(_HELD_OUT)
"""Families that only shift-families draws."""


def family(name: str) -> Family:
    """The family ``name``; raises `ValueError` for one that does not exist."""
    found = _IN_USE.get(name) or _HELD_OUT.get(name)
    if found is None:
        raise ValueError(f"ScaleBench has no family {name!r}. Families: {', '.join((*FAMILIES, *HELD_OUT))}.")
    return found
