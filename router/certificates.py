"""What was proven of a bundle's policy on the images of ``certify``; made by `training.certificates`.

A certificate says: for images like those of the calibration, the setting's expected loss is at most epsilon,
but for calibrations as unlucky as happen with probability delta. The unit is the image; the policy is the
whole of it, with its fallback for novel images; decoding is greedy; a prompt is one question about one image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.constraints import LOSSES, LossName
from router.json_values import number, numbers, text, whole

FULL_PRICE = -2.0
"""At this price a token earns more than any score can: always the largest scale."""


DTYPE = "float32"
"""That of certificates which do not name theirs."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A step of the path that policies are certified on.

    price: expected score that a visual token must buy; below 0 it earns some. threshold: what another pass of
    a cascade must be worth beyond its price, below 0 what it may lack; None without a cascade.
    """

    price: float
    threshold: float | None = None

    def __post_init__(self) -> None:
        if not all(math.isfinite(v) for v in (self.price, self.threshold or 0.0)):
            raise ValueError(f"A setting must be finite, got {self}.")


FULL = Setting(FULL_PRICE)


@dataclass(frozen=True, slots=True)
class Certificate:
    """The cheapest setting of the path that passed for (loss, epsilon, delta); None: the full scale alone.

    group: the family of questions that it speaks of, "" for all; delta is that of all groups together.
    What is promised, with probability 1 - delta, is a loss of at most epsilon. n_images: of the calibration.
    smallest_n: images that lose nothing which would certify anything. bound: how low the setting's loss would
    be bounded if it had been chosen beforehand; it was chosen on these images, so that this is no promise.
    visual_tokens: its mean on the calibration, all passes.
    """

    loss: LossName
    epsilon: float
    delta: float
    n_images: int
    smallest_n: int
    setting: Setting | None
    bound: float
    visual_tokens: float
    group: str = ""

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"A certificate of the loss {self.loss!r}; known are {', '.join(LOSSES)}.")
        if not (0 < self.epsilon <= 1 and 0 < self.delta < 1):
            raise ValueError(f"A certificate for epsilon {self.epsilon} and delta {self.delta}.")
        if self.n_images < 1 or self.smallest_n < 1:
            raise ValueError(f"A certificate from {self.n_images} images, {self.smallest_n} needed.")
        if not (-1 <= self.bound <= self.epsilon and 0 <= self.visual_tokens < math.inf):
            raise ValueError(f"A certificate with bound {self.bound} and {self.visual_tokens} tokens.")

    @property
    def refused(self) -> bool:
        """Whether so few images could not have certified anything, had they lost nothing."""
        return self.setting is None and self.n_images < self.smallest_n

    def to_json(self) -> dict[str, Any]:
        setting = self.setting
        return {
            "loss": self.loss,
            "epsilon": self.epsilon,
            "delta": self.delta,
            "group": self.group,
            "n_images": self.n_images,
            "smallest_n": self.smallest_n,
            "setting": None if setting is None else {"price": setting.price, "threshold": setting.threshold},
            "bound": self.bound,
            "visual_tokens": self.visual_tokens,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Certificate:
        setting = value["setting"]
        if setting is not None:
            threshold = setting["threshold"]
            setting = Setting(number(setting["price"]), None if threshold is None else number(threshold))
        loss = text(value["loss"])
        return cls(
            loss=loss,  # type: ignore[arg-type]  # checked when it is made
            epsilon=number(value["epsilon"]),
            delta=number(value["delta"]),
            group=text(value["group"]),
            n_images=whole(value["n_images"]),
            smallest_n=whole(value["smallest_n"]),
            setting=setting,
            bound=number(value["bound"]),
            visual_tokens=number(value["visual_tokens"]),
        )


@dataclass(frozen=True, slots=True)
class TokenBounds:
    """Per price of `router.prices.Prices` what the mean of visual tokens stays under with 1 - delta.

    bounds: as many as prices, descending as they are to be used: for a budget fixed beforehand, the lowest
    price whose bound is within it.
    """

    delta: float
    n_images: int
    bounds: tuple[float, ...]

    def __post_init__(self) -> None:
        if not 0 < self.delta < 1 or self.n_images < 1:
            raise ValueError(f"Token bounds at delta {self.delta} from {self.n_images} images.")
        if list(self.bounds) != sorted(self.bounds, reverse=True) or not all(
            math.isfinite(b) and b >= 0 for b in self.bounds
        ):
            raise ValueError("Token bounds must be finite, not negative, and descend.")


@dataclass(frozen=True, slots=True)
class Certificates:
    """All that is certified of one bundle; empty by default.

    accuracy: of answers in one pass; cascade: of those that are thought over (`router.escalation`).
    max_new_tokens: of the calibration's answers; a shorter limit may cut an answer, and is not certified.
    outcomes: hash of the calibration's table. dtype: what its answers were computed in; another one rounds
    otherwise, and now and then says another word. instructions: the kinds of prompts in the calibration
    (`router.instructions`); None: not recorded, all count as known. Those are of bundles that were certified
    before kinds were recorded, or with ``m3-train certify --any-prompt``.
    """

    accuracy: tuple[Certificate, ...] = ()
    tokens: tuple[TokenBounds, ...] = ()
    max_new_tokens: int = 0
    outcomes: str = ""
    cascade: tuple[Certificate, ...] = ()
    dtype: str = DTYPE
    instructions: tuple[str, ...] | None = None

    def __bool__(self) -> bool:
        return bool(self.accuracy or self.tokens or self.cascade)

    def know(self, instruction: str | None) -> bool:
        """Whether prompts that end so were in the calibration."""
        return instruction is None or self.instructions is None or instruction in self.instructions

    def covering(
        self, loss: LossName, epsilon: float, delta: float, *, cascade: bool = False
    ) -> Certificate | None:
        """The certificate of the largest epsilon, then delta, that are not above these; None if none is.

        Which one it is does not depend on what the calibration showed: choosing the cheapest of several
        would spend the delta of each.
        """
        safe = [
            c
            for c in (self.cascade if cascade else self.accuracy)
            if c.loss == loss and not c.group and c.epsilon <= epsilon and c.delta <= delta
        ]
        return max(safe, key=lambda c: (c.epsilon, c.delta), default=None)

    def steps(self, *, cascade: bool = False) -> dict[LossName, tuple[tuple[float, ...], tuple[float, ...]]]:
        """Per loss the epsilons and the deltas, ascending, that requests snap down to.

        cascade: those of cascades instead of those of one pass.
        """
        found: dict[LossName, tuple[tuple[float, ...], tuple[float, ...]]] = {}
        for loss in LOSSES:
            known = self.cascade if cascade else self.accuracy
            own = [c for c in known if c.loss == loss and not c.group]
            if own:
                epsilons, deltas = {c.epsilon for c in own}, {c.delta for c in own}
                found[loss] = (tuple(sorted(epsilons)), tuple(sorted(deltas)))
        return found

    def token_bounds(self, delta: float) -> TokenBounds | None:
        """Those of the largest delta that is not above this one."""
        return max((t for t in self.tokens if t.delta <= delta), key=lambda t: t.delta, default=None)

    def to_json(self) -> list[Any] | dict[str, Any]:
        """For the manifest; an empty list when nothing is certified, as bundles have it from the first."""
        if not self:
            return []
        # Left out where there are none: the version of a bundle that was certified before stays as it is.
        cascade = {"cascade": [c.to_json() for c in self.cascade]} if self.cascade else {}
        dtype = {} if self.dtype == DTYPE else {"dtype": self.dtype}
        kinds = {} if self.instructions is None else {"instructions": list(self.instructions)}
        return {
            "outcomes": self.outcomes,
            "max_new_tokens": self.max_new_tokens,
            "accuracy": [c.to_json() for c in self.accuracy],
            "tokens": [
                {"delta": t.delta, "n_images": t.n_images, "bounds": list(t.bounds)} for t in self.tokens
            ],
            **cascade,
            **dtype,
            **kinds,
        }

    @classmethod
    def from_json(cls, value: Any, n_prices: int) -> Certificates:
        """The inverse of `to_json`. Raises `KeyError`, `TypeError` or `ValueError` for anything else.

        n_prices: of the bundle's prices, which the token bounds are of.
        """
        if value == []:
            return cls()
        if not isinstance(value, dict):
            raise TypeError(f"certificates are {value!r}")
        tokens = tuple(
            TokenBounds(number(t["delta"]), whole(t["n_images"]), numbers(t["bounds"]))
            for t in value["tokens"]
        )
        if any(len(t.bounds) != n_prices for t in tokens):
            raise ValueError(f"The token bounds are not for {n_prices} prices.")
        return cls(
            accuracy=tuple(Certificate.from_json(c) for c in value["accuracy"]),
            tokens=tokens,
            max_new_tokens=whole(value["max_new_tokens"]),
            outcomes=text(value["outcomes"]),
            cascade=tuple(Certificate.from_json(c) for c in value.get("cascade", ())),
            dtype=text(value.get("dtype", DTYPE)),
            instructions=tuple(map(text, value["instructions"])) if "instructions" in value else None,
        )


NOTHING = Certificates()
