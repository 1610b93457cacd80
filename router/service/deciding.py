"""A router in use: it decides within a time limit, and the full scale takes its place when it does not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from m3_backbone.types import Generation, RouteInputs
from router.constraints import Constraints
from router.errors import ConstraintError
from router.passes import unproven
from router.policy import Decision, decide
from router.prices import Prices
from router.service.threads import Busy, Threads

logger = logging.getLogger("m3_router")

_NO_PRICES = Prices(default=0.0, prices=(0.0,), mean_tokens=(0.0,))  # for a decision that nothing predicts


class Routes(Protocol):
    """What the service needs of a `router.Router`."""

    @property
    def version(self) -> str: ...

    def route(self, inputs: RouteInputs, constraints: Constraints | None = None) -> Decision: ...


@runtime_checkable
class Reconsiders(Protocol):
    """A router that thinks answers over (`router.Router.reconsider`)."""

    def first(self, inputs: RouteInputs, constraints: Constraints | None = None) -> Decision: ...

    def reconsider(
        self,
        decision: Decision,
        generation: Generation,
        inputs: RouteInputs,
        constraints: Constraints,
        tried: Sequence[int] = (),
    ) -> Decision: ...


@dataclass(frozen=True)
class Decider:
    """``router``, run on ``threads`` for at most ``timeout_s``; None means: always the full scale."""

    router: Routes | None
    threads: Threads
    timeout_s: float
    version: str | None = field(init=False)

    def __post_init__(self) -> None:
        version = None if self.router is None else self.router.version  # a hash: made once
        object.__setattr__(self, "version", version)

    async def decide(self, inputs: RouteInputs, constraints: Constraints) -> tuple[Decision, str | None]:
        """The decision, and the label of its fallback for metrics. Raises `ConstraintError`."""
        router = self.router
        if router is None:
            return _full(inputs, constraints, "no router is loaded", "no_router")
        route = router.first if isinstance(router, Reconsiders) else router.route
        try:
            async with asyncio.timeout(self.timeout_s):
                decision = await self.threads.run(route, inputs, constraints)
        except ConstraintError:
            raise
        except (TimeoutError, Busy):
            return _full(inputs, constraints, f"the router took more than {self.timeout_s:g} s", "late")
        except Exception as error:
            # The type alone: what an unknown exception says may quote the question.
            logger.warning("The router failed with %s; answering at the full scale.", type(error).__name__)
            return _full(inputs, constraints, "the router failed", "error")
        if decision.fallback is None:
            return decision, None
        return decision, "novelty" if decision.probabilities else "predictor"

    async def reconsider(
        self,
        decision: Decision,
        generation: Generation,
        inputs: RouteInputs,
        constraints: Constraints,
        tried: Sequence[int],
    ) -> Decision:
        """What follows ``decision`` now that its answer is there; at the same scale: the answer stays.

        It stays too when the router fails or is late, but that is not what was certified. Else it is
        ``decision`` itself. tried: the scales before.
        """
        router: object = self.router
        if not isinstance(router, Reconsiders):
            return unproven(decision, "this router has no second look")
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self.threads.run(
                    router.reconsider, decision, generation, inputs, constraints, tried
                )
        except Exception as error:
            logger.warning("The second look failed with %s; the answer stays.", type(error).__name__)
            return unproven(decision, "the second look failed or was late")


def _full(inputs: RouteInputs, constraints: Constraints, why: str, label: str) -> tuple[Decision, str | None]:
    """The largest scale that ``constraints`` allow. A forced scale stays forced: that is no fallback."""
    decision = decide(None, inputs.visual_tokens, inputs.ladder, constraints, _NO_PRICES, fallback=why)
    return decision, None if decision.fallback is None else label
