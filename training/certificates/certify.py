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
    any_prompt: bool = False,
    outcomes: str = "",
) -> Certificates:
    """Certificates of ``router`` from ``table``, which must be of the split certify and of its backbone.

    tune: what the order of settings is learned on; left out, it goes by price. families: each family's own
    certificates too, where there are several. any_prompt: the table may have more than `MOST_KINDS` kinds of
    prompts; then none is recorded, and served ones of every kind count as known. outcomes: hash of the table,
    kept. Raises `RecordError`, for such a table without ``any_prompt`` too, `router.errors.BundleMismatch`.
    """
    if table.split != SPLIT:
        raise RecordError(
            f"The table holds the split '{table.split}': certificates come from '{SPLIT}', on which nothing "
            "was fitted or chosen. --simulate takes any other."
        )
    instructions = _instructions(table, any_prompt)
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
        instructions=instructions,
    )


def _instructions(table: OutcomeTable, any_prompt: bool) -> tuple[str, ...] | None:
    """The kinds of prompts in the table, in alphabetical order; None for more than `MOST_KINDS`, if allowed.

    All of them, the rarest too: what they gained is a part of what was bounded under ``net``.
    """
    kinds = sorted(set(map(instruction_of, table.questions)))
    if len(kinds) <= MOST_KINDS:
        return tuple(kinds)
    if any_prompt:
        return None
    raise RecordError(
        f"The prompts end with {len(kinds):,} different lines, {kinds[-1][:60]!r} among them; up to "
        f"{MOST_KINDS} count as kinds of prompts, of which certificates speak while others get the full "
        "scale. Put what is asked on one line and the instruction on the next, or certify with --any-prompt: "
        "prompts of every kind then count as known."
    )


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
