"""What a request asks of the router: a scale, a floor, a ceiling, a budget, a price."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Literal

from m3_backbone.scales import Ladder, ScaleError
from router.errors import ConstraintError

PolicyName = Literal["fixed", "utility", "token_budget"]


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a request (or an operator's default) asks of the router; everything may be left out.

    scale: forced, wins over all else. min_scale: floor. max_scale: ceiling on the scale, whatever the image
    costs at it. max_visual_tokens: ceiling on this request's own visual tokens. token_budget: mean visual
    tokens per request. price: expected score that one visual token must buy. Raises `ConstraintError` for a
    value that can mean nothing.
    """

    scale: int | None = None
    min_scale: int | None = None
    max_scale: int | None = None
    max_visual_tokens: int | None = None
    token_budget: float | None = None
    price: float | None = None

    def __post_init__(self) -> None:
        for name in ("scale", "min_scale", "max_scale", "max_visual_tokens"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConstraintError(f"{name} must be a whole number above 0, got {value!r}.", param=name)
        if self.token_budget is not None and not (_is_number(self.token_budget) and self.token_budget > 0):
            raise ConstraintError(
                f"token_budget must be a number above 0, got {self.token_budget!r}.", param="token_budget"
            )
        if self.price is not None and not (_is_number(self.price) and self.price >= 0):
            raise ConstraintError(f"price must be a number of at least 0, got {self.price!r}.", param="price")
        if self.price is not None and self.token_budget is not None:
            raise ConstraintError("Give a token_budget or a price, not both.", param="token_budget")

    def check(self, ladder: Ladder) -> None:
        """Raises `ConstraintError` when a scale named here is not on ``ladder``."""
        for name in ("scale", "min_scale"):
            value = getattr(self, name)
            if value is not None:
                try:
                    ladder.validate(value)
                except ScaleError as err:
                    raise ConstraintError(str(err), code="invalid_scale", param=name) from err


def _is_number(value: object) -> bool:
    return type(value) is not bool and isinstance(value, Real) and math.isfinite(value)
