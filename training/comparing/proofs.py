"""Whether certificates would hold for every candidate: its path, certified on many draws from the table.

The compared table is the population (`training.certificates.simulate`). A path runs from the full scale for
all over a candidate's settings, the dearest first; no label chose them. (`m3-train certify` learns
a better order, on tune.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data.records import OutcomeTable
from router.constraints import LossName
from training.certificates.bad import BAD, EDGE, just_above
from training.certificates.grid import Grid
from training.certificates.ordering import as_given
from training.certificates.played import Played
from training.certificates.simulate import Simulated, simulate
from training.comparing.fits import Fit
from training.evaluation.passes import Passes

GRID = Grid(epsilons=(0.01, 0.02, 0.05), deltas=(0.05, 0.1))
TOLD = (0.05, 0.05)
"""The (epsilon, delta) whose tokens are told."""


@dataclass(frozen=True)
class Proof:
    """The simulation of one candidate, or of a bad one; cells: one per loss, epsilon and delta of `GRID`."""

    name: str
    cells: tuple[Simulated, ...]

    @property
    def holds(self) -> bool:
        """Whether no certificate was violated more often than delta explains."""
        return all(cell.holds for cell in self.cells)

    @property
    def worst(self) -> Simulated:
        """The cell that was violated most for its delta."""
        return max(self.cells, key=lambda cell: (cell.rate / cell.delta, cell.rate))

    def told(self, loss: LossName) -> Simulated:
        """The cell whose tokens are told."""
        return next(c for c in self.cells if (c.loss, c.epsilon, c.delta) == (loss, *TOLD))


def proofs(
    fits: Mapping[str, Sequence[Fit]], table: OutcomeTable, main: str, draws: int, seed: int = 0
) -> tuple[Proof, ...]:
    """fits: name -> one per seed, of which the first is taken.

    Two that are bad on purpose are added: one whose risk is just above what is certified (`just_above`), and
    one that is wrong throughout: what ``main`` gives the smallest scale it gives the full one, and the other
    way round.
    """
    policies = {name: played(ones[0], table) for name, ones in fits.items()}
    policies[BAD] = reverse(policies[main])
    policies[EDGE] = just_above(table, GRID.epsilons)
    ordered = {name: (policy, as_given(policy, GRID)) for name, policy in policies.items()}
    cells = simulate(ordered, GRID, draws=draws, seed=seed)
    return tuple(Proof(name, tuple(c for c in cells if c.policy == name)) for name in policies)


def played(fit: Fit, table: OutcomeTable) -> Played:
    """The fit's settings on ``table``, the full scale for all before them."""
    path, last = fit.path, len(table.scales) - 1
    nothing = np.zeros(table.scores.shape, np.bool_)
    spent = [
        Passes(choice.astype(np.int64), nothing if path.tried is None else path.tried[k]).tokens(
            table.visual_tokens
        )
        for k, choice in enumerate(path.choices)
    ]
    full = np.full((1, len(table)), last, np.int8)
    return Played(
        table,
        np.concatenate([full, path.choices[::-1]]),
        np.concatenate([table.visual_tokens[None, :, last].astype(np.float64), np.stack(spent)[::-1]]),
    )


def reverse(policy: Played) -> Played:
    """Bad on purpose: the smaller the scale that ``policy`` would choose, the larger the one chosen."""
    table, last = policy.table, len(policy.table.scales) - 1
    # From the cheapest setting on, which becomes the dearest: the full scale is still the first one.
    choices = np.concatenate([policy.choices[:1], last - policy.choices[:0:-1]])
    rows = np.arange(len(table))
    tokens = np.stack([table.visual_tokens[rows, choice] for choice in choices]).astype(np.float64)
    return Played(table, choices, tokens)
