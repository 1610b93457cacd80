"""A router and the outcomes of ``certify`` -> for every cell of a grid the cheapest setting that passes."""

from __future__ import annotations

from data.records import OutcomeTable, RecordError
from router.certificates import DTYPE, Certificate, Certificates
from router.instructions import instruction_of
from router.router import Router
from training.certificates.bounds import BOUNDS, Bound, Floats, Sets
from training.certificates.grid import Grid
from training.certificates.ordering import Order
from training.certificates.policies import Policy, policies, predict
from training.certificates.replay import Replay
from training.certificates.testing import cheapest, passed
from training.certificates.token_bounds import token_bounds

SPLIT = "certify"
MOST_KINDS = 50
"""More different last lines than this are no instructions, but what is asked: they tell no kinds apart."""


def certify(
    router: Router,
    table: OutcomeTable,
    grid: Grid,
    *,
    tune: OutcomeTable | None = None,
    families: bool = True,
    outcomes: str = "",
) -> Certificates:
    """Certificates of ``router`` from ``table``, which must be of the split certify and of its backbone.

    tune: what the order of settings is learned on; left out, it goes by price. families: each family's own
    certificates too, where there are several. outcomes: hash of the table, kept. Raises `RecordError`,
    `router.errors.BundleMismatch`.
    """
    if table.split != SPLIT:
        raise RecordError(
            f"The table holds the split '{table.split}': certificates come from '{SPLIT}', on which nothing "
            "was fitted or chosen. --simulate takes any other."
        )
    predictions = predict(router, table)
    found = {False: list[Certificate](), True: list[Certificate]()}
    for policy in policies(router, predictions, table, grid, tune):
        found[policy.cascade] += _accuracy(policy, grid, families=families)
    limit = table.manifest.get("max_new_tokens")
    return Certificates(
        accuracy=tuple(found[False]),
        tokens=token_bounds(router, predictions, table, grid.deltas),
        max_new_tokens=limit if isinstance(limit, int) else 0,
        outcomes=outcomes,
        cascade=tuple(found[True]),
        dtype=str(table.manifest.get("dtype", DTYPE)),
        instructions=_instructions(table),
    )


def _instructions(table: OutcomeTable) -> tuple[str, ...] | None:
    """The kinds of prompts in the table, in alphabetical order; None for more than `MOST_KINDS`.

    All of them, the rarest too: what they gained is a part of what was bounded under ``net``.
    """
    kinds = sorted(set(map(instruction_of, table.questions)))
    return tuple(kinds) if len(kinds) <= MOST_KINDS else None


def _accuracy(policy: Policy, grid: Grid, *, families: bool) -> list[Certificate]:
    replay = policy.replay
    found = _of_group(replay, policy.order, grid, "", 1)
    names = sorted(set(replay.table.families.tolist()))
    if families and len(names) > 1:
        for name in names:
            found += _of_group(replay.family(name), policy.order, grid, name, len(names))
    return found


def _of_group(replay: Replay, order: Order, grid: Grid, group: str, groups: int) -> list[Certificate]:
    """The certificates of one group; each of ``groups`` gets an equal part of delta (Bonferroni)."""
    tokens = replay.image_tokens().mean(axis=0)
    found = []
    for loss in grid.losses:
        bound, losses = BOUNDS[loss], replay.losses(loss)
        sets = Sets.whole(len(losses))
        for epsilon in grid.epsilons:
            places = list(order[loss, epsilon])
            p = bound.p_values(losses[:, places[1:]], epsilon, sets, largest=max(grid.deltas))
            for delta in grid.deltas:
                step = places[int(cheapest(passed(p, delta / groups), tokens[places])[0])]
                found.append(
                    Certificate(
                        loss=loss,
                        epsilon=epsilon,
                        delta=delta,
                        group=group,
                        n_images=len(losses),
                        smallest_n=bound.smallest_n(epsilon, delta / groups),
                        setting=replay.path[step] if step else None,
                        bound=_bound(bound, losses[:, step], epsilon, delta / groups) if step else 0.0,
                        visual_tokens=float(tokens[step]),
                    )
                )
    return found


def _bound(bound: Bound, losses: Floats, epsilon: float, delta: float) -> float:
    """Of a setting chosen beforehand. At most epsilon, which was refused: the search for the bound
    ends up to 1e-6 above it."""
    return min(epsilon, bound.upper(losses, delta))
