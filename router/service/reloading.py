"""A new bundle without a restart: verified and tried out first, then put in place between two requests.

What is not good enough is told in the log and in ``m3_reloads_total``, and the router in use stays.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable

from PIL import Image

from router.constraints import Constraints
from router.errors import BundleError, M3Error
from router.service.context import where
from router.service.deciding import Routes
from router.service.metrics import Metrics
from router.service.pipeline import Pipeline
from router.service.threads import Threads

logger = logging.getLogger("m3_router")

LOAD_TIMEOUT_S = 60.0
"""For reading a bundle, and again for trying it out: a disk that hangs must not hang all later reloads."""

_QUESTION = ("What colour is the background?",)


class Reloader:
    """Replaces the router of ``pipeline`` by what ``load`` gives (None: no router).

    Requests under way end with the router that they began with.
    """

    def __init__(self, pipeline: Pipeline, metrics: Metrics, load: Callable[[], Routes | None]) -> None:
        self._pipeline = pipeline
        self._metrics = metrics
        self._load = load
        self._turn = asyncio.Lock()
        self._thread = Threads(1, waiting=2, name="m3-reload")
        self._tasks: set[asyncio.Task[bool]] = set()

    def request(self) -> None:
        """Reload soon: what a signal handler calls. One that waits already will see the newest files."""
        if len(self._tasks) < 2:
            task = asyncio.ensure_future(self.reload())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def reload(self) -> bool:
        """Whether the router was replaced. Never raises but for being cancelled."""
        async with self._turn:
            before = self._pipeline.router_version
            try:
                async with asyncio.timeout(LOAD_TIMEOUT_S):
                    router = await self._thread.run(self._load)
                if router is not None:
                    async with asyncio.timeout(LOAD_TIMEOUT_S):
                        await self._try_out(router)
            except Exception as error:
                logger.error("The bundle was not reloaded; %s stays. %s", _named(before), _told(error))
                self._metrics.reloaded("failed")
                return False
            self._pipeline.use(router)
            after = self._pipeline.router_version
            self._metrics.serves(after)
            self._metrics.reloaded("done")
            logger.info("The bundle was reloaded: %s, before %s.", _named(after), _named(before))
            return True

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._thread.close()

    async def _try_out(self, router: Routes) -> None:
        """A decision about a picture, from this engine's own route inputs. Raises `BundleError`, and more."""
        engine = self._pipeline.engine
        image = await engine.encode(Image.linear_gradient("L").convert("RGB"))
        inputs = await engine.summarise(image, _QUESTION)
        decision = await self._thread.run(router.route, inputs, Constraints())
        values = (*decision.probabilities.values(), *decision.expected_scores.values())
        if not values or not all(map(math.isfinite, values)):  # it fell back: not because of the picture
            raise BundleError(f"The new router cannot decide: {decision.reason}. Fit the bundle again.")


def _told(error: Exception) -> str:
    """Ours name the file and the remedy; another one is told by its type and where it came from."""
    return error.message if isinstance(error, M3Error) else f"{type(error).__name__}\n{where(error)}"


def _named(version: str | None) -> str:
    return "no router" if version is None else f"router {version}"
