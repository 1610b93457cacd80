"""What a request asks of the router: a scale, a floor, a ceiling, a budget, a price, an accuracy drop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Literal

from m3_backbone.scales import Ladder, ScaleError
from router.errors import ConstraintError

PolicyName = Literal["fixed", "utility", "token_budget", "accuracy_drop", "cascade", "cascade_stream"]
LossName = Literal["regret", "net", "agreement"]
PromptKind = Literal["question", "conversation"]

LOSSES: tuple[LossName, ...] = ("regret", "net", "agreement")
"""regret: max(0, s_full - s). net: s_full - s. agreement: 1 where the full scale's answer is another one."""

DELTA = 0.05
"""What an accuracy drop has when its delta is not given."""

LOSS: LossName = "regret"


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a request (or an operator's default) asks of the router; everything may be left out.

    scale: forced, wins over all else. min_scale: floor. max_scale: ceiling on the scale, whatever the image
    costs at it. max_visual_tokens: ceiling on this request's own visual tokens. token_budget: mean visual
    tokens per request. price: expected score that one visual token must buy. accuracy_drop: expected ``loss``
    against the full scale, kept with probability 1 - ``delta``. delta beside a token_budget: the budget is
    kept with that probability, else it is the calibration's mean that is within it. cascade: whether the
    answer is looked at, and made again at a larger scale where that pays: True, by what the router has
    learned of answers, and within the target; a number, where the geometric mean of its tokens'
    probabilities is below that, which goes with a price alone.

    greedy, kind, max_new_tokens, dtype: how the answer will be made. They choose no scale, but certificates
    speak of greedy answers to one question about one image, computed in one dtype (`router.certificates`).
    None: no limit to speak of; the certificates' own dtype. instruction: what the prompt ends with
    (`router.instructions`), of which certificates speak or do not; None: not known. The router finds it.
    Raises `ConstraintError` for a value that can mean nothing.
    """

    scale: int | None = None
    min_scale: int | None = None
    max_scale: int | None = None
    max_visual_tokens: int | None = None
    token_budget: float | None = None
    price: float | None = None
    accuracy_drop: float | None = None
    delta: float | None = None
    loss: LossName | None = None
    cascade: bool | float = False
    greedy: bool = True
    kind: PromptKind = "question"
    max_new_tokens: int | None = None
    dtype: str | None = None
    instruction: str | None = None

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
        for name in ("accuracy_drop", "delta"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 < value < 1):
                raise ConstraintError(
                    f"{name} must be a number above 0 and below 1, got {value!r}.", param=name
                )
        if self.loss is not None and self.loss not in LOSSES:
            raise ConstraintError(
                f"loss must be one of {', '.join(LOSSES)}, got {self.loss!r}.", param="loss"
            )
        if not isinstance(self.cascade, bool) and not (_is_number(self.cascade) and 0 < self.cascade < 1):
            raise ConstraintError(
                f"cascade must be true, false or a number above 0 and below 1, got {self.cascade!r}.",
                param="cascade",
            )
        self._check_targets()

    def _check_targets(self) -> None:
        """One target, and nothing that belongs to another one."""
        targets = [n for n in ("token_budget", "price", "accuracy_drop") if getattr(self, n) is not None]
        if len(targets) > 1:
            raise ConstraintError(
                f"Give a token_budget, a price or an accuracy_drop, not {' and '.join(targets)} at once.",
                param=targets[0],
            )
        if self.loss is not None and self.accuracy_drop is None:
            raise ConstraintError("A loss is that of an accuracy_drop: give both or none.", param="loss")
        if self.delta is not None and self.accuracy_drop is None and self.token_budget is None:
            raise ConstraintError(
                "A delta is that of an accuracy_drop or of a token_budget: give it with one of them.",
                param="delta",
            )
        self._check_cascade()

    def _check_cascade(self) -> None:
        """Of a threshold of the request's own nobody knows what all passes spend and lose."""
        why = None
        if type(self.cascade) is not bool and self.accuracy_drop is not None:
            why = "No cascade with a threshold of its own is certified: give cascade true with accuracy_drop."
        elif type(self.cascade) is not bool and self.token_budget is not None:
            why = (
                f"A token_budget would bound the first pass alone of a cascade below {self.cascade!r}: give "
                "cascade true, which keeps it in all passes together, or leave out one of them."
            )
        elif self.cascade is not False and self.token_budget is not None and self.delta is not None:
            why = "No token_budget of a cascade is certified: leave out either the cascade or delta."
        if why is not None:
            raise ConstraintError(why, code="conflicting_constraints", param="cascade")

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
