"""The families of pictures: name -> painter. A painter draws on its own canvas and asks its questions."""

from __future__ import annotations

import random
from collections.abc import Callable

from data.scalebench.families import charts, receipts, scenes, signs, tables
from data.scalebench.families.paint import Painting

FAMILIES: dict[str, Callable[[random.Random], Painting]] = {
    "scenes": scenes.paint,
    "signs": signs.paint,
    "charts": charts.paint,
    "receipts": receipts.paint,
    "tables": tables.paint,
}
