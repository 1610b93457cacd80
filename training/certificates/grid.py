"""What certificates are asked for: every combination of a loss, an epsilon and a delta."""

from __future__ import annotations

from dataclasses import dataclass

from router.constraints import LossName

EPSILONS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
DELTAS = (0.01, 0.05, 0.1)


@dataclass(frozen=True)
class Grid:
    """Each certificate holds by itself with its own delta; they do not hold all at once."""

    losses: tuple[LossName, ...] = ("regret", "net")
    epsilons: tuple[float, ...] = EPSILONS
    deltas: tuple[float, ...] = DELTAS

    def __post_init__(self) -> None:
        for name, values in (("epsilon", self.epsilons), ("delta", self.deltas)):
            wrong = [value for value in values if not 0 < value < 1]
            if wrong or not values:
                raise ValueError(f"{name} must be above 0 and below 1, got {wrong or 'none'}.")
