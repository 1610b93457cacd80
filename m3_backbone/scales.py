"""The ladder: a checkpoint's ordered scales, where a scale is a number of visual tokens per view.

The ladder is read from the checkpoint (`matryoshka_vis_token_scale` in config.json) and passed down;
no other module holds a constant list of scales.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


class ScaleError(ValueError):
    """A scale that is not on the ladder, or a ladder that cannot be one."""


def _side(tokens: int) -> int:
    """Side of a square of ``tokens`` cells; raises `ScaleError` when there is none."""
    side = math.isqrt(max(tokens, 0))
    if tokens < 1 or side * side != tokens:
        raise ScaleError(f"Scale {tokens} is not a square number of visual tokens (1, 4, 9, 16, ...).")
    return side


@dataclass(frozen=True, slots=True)
class Ladder:
    """Ordered scales of one checkpoint, smallest first; the last one is the whole grid.

    Every scale is a square whose side divides the grid's side, so that average pooling with
    kernel = stride = ``grid_side / sqrt(scale)`` is exact (M3, arXiv 2405.17430, section 3).
    """

    scales: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.scales:
            raise ScaleError("The ladder is empty: a checkpoint needs at least one scale.")
        if any(isinstance(s, bool) or not isinstance(s, int) for s in self.scales):
            raise ScaleError(f"The ladder {list(self.scales)} holds something that is not an integer.")
        if list(self.scales) != sorted(set(self.scales)):
            raise ScaleError(f"The ladder {list(self.scales)} is not strictly increasing.")
        grid = _side(self.scales[-1])
        for scale in self.scales:
            if grid % _side(scale):
                raise ScaleError(
                    f"Scale {scale} does not divide the grid: its side {_side(scale)} does not divide {grid}."
                )

    @classmethod
    def parse(cls, values: Iterable[int]) -> Ladder:
        """A ladder from the values of a config file, in any order."""
        return cls(tuple(sorted(values)))

    @classmethod
    def from_text(cls, text: str) -> Ladder:
        """A ladder as people type it: ``1,9,36``, in any order, in brackets or without."""
        if re.fullmatch(r"\s*\d{1,9}(\s*,\s*\d{1,9})*\s*", text.strip("[]() "), re.ASCII) is None:
            raise ScaleError(f"The ladder {text!r} is not made of numbers with commas between, as in 1,9,36.")
        return cls.parse(int(part) for part in text.strip("[]() ").split(","))

    def __iter__(self) -> Iterator[int]:
        return iter(self.scales)

    def __len__(self) -> int:
        return len(self.scales)

    def __contains__(self, scale: object) -> bool:
        return type(scale) is int and scale in self.scales

    @property
    def smallest(self) -> int:
        return self.scales[0]

    @property
    def full(self) -> int:
        """The largest scale: every token of the grid, no pooling."""
        return self.scales[-1]

    @property
    def grid_side(self) -> int:
        """Side of the unpooled grid, in patches (24 for CLIP-L/14-336)."""
        return _side(self.full)

    def side(self, scale: int) -> int:
        """Side of the pooled grid at ``scale``, in tokens."""
        return _side(self.validate(scale))

    def factor(self, scale: int) -> int:
        """Pooling kernel and stride at ``scale``, in patches."""
        return self.grid_side // self.side(scale)

    def index(self, scale: int) -> int:
        return self.scales.index(self.validate(scale))

    def validate(self, scale: object) -> int:
        """``scale`` itself when it is on the ladder; raises `ScaleError` naming the valid ones otherwise."""
        if scale not in self:
            raise ScaleError(
                f"Scale {scale!r} is not on the ladder. Valid scales: {', '.join(map(str, self))}."
            )
        assert isinstance(scale, int)
        return scale

    def at_most(self, tokens: int) -> int:
        """The largest scale of at most ``tokens`` tokens; raises `ScaleError` when the smallest is more."""
        fitting = [s for s in self.scales if s <= tokens]
        if not fitting:
            raise ScaleError(f"No scale has at most {tokens} visual tokens: the smallest is {self.smallest}.")
        return fitting[-1]
