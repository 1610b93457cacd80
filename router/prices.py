"""What a visual token costs in expected score, and which price keeps to which budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.errors import ConstraintError
from router.json_values import number, numbers


@dataclass(frozen=True, slots=True)
class Prices:
    """Price -> mean visual tokens, as measured on ``tune``; and the price used when nothing is asked.

    prices ascend, mean_tokens descend; the last price buys only the smallest scale.
    """

    default: float
    prices: tuple[float, ...]
    mean_tokens: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.prices or len(self.prices) != len(self.mean_tokens):
            raise ValueError(f"{len(self.prices)} prices for {len(self.mean_tokens)} means of tokens.")
        if not all(math.isfinite(v) and v >= 0 for v in (self.default, *self.prices, *self.mean_tokens)):
            raise ValueError("Prices and their mean tokens must be finite and not negative.")
        if list(self.prices) != sorted(self.prices) or list(self.mean_tokens) != sorted(
            self.mean_tokens, reverse=True
        ):
            raise ValueError("Prices must ascend and their mean tokens descend.")

    def for_budget(self, tokens: float) -> float:
        """The lowest price whose mean stayed within ``tokens`` on ``tune``; `ConstraintError` if none did."""
        for price, mean in zip(self.prices, self.mean_tokens, strict=True):
            if mean <= tokens:
                return price
        raise ConstraintError(
            f"token_budget {tokens:g} cannot be met: the smallest mean is {self.mean_tokens[-1]:g} tokens.",
            param="token_budget",
        )

    def to_json(self) -> dict[str, Any]:
        """For a manifest."""
        return {
            "default": self.default,
            "price": list(self.prices),
            "mean_visual_tokens": list(self.mean_tokens),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Prices:
        """The inverse of `to_json`; a KeyError, TypeError or ValueError for anything else."""
        return cls(number(value["default"]), numbers(value["price"]), numbers(value["mean_visual_tokens"]))
