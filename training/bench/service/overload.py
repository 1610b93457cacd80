"""Ten times what the service can do, for a while, on the fake engine: what becomes of the requests, of the
queue, and how soon it is itself again."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.bench.service import servers
from training.bench.service.asks import PATH, Asked
from training.bench.service.clients import Load, coming, waiting
from training.bench.service.cores import Cores, staying_on
from training.bench.service.wire import Connection

TIMES = 10
RECOVERY_S = 5.0
_WATCH_S, _PROBE_S, _PROBES_S = 0.2, 0.1, 10.0
_IN_FLIGHT = re.compile(rb"^m3_requests_in_flight ([0-9.e+]+)", re.MULTILINE)

TOKEN_S = 0.1
"""Of every step of a batch on the fake engine: so the engine is what is short, and not the core."""

BATCH, QUEUE, IN_FLIGHT = 8, 32, 128
QUEUE_LIMIT = 2 * (BATCH + QUEUE)
"""What ``queued`` of /ready may be: requests for an answer and for an encoding wait in a queue each, of
M3_QUEUE_SIZE behind a full batch."""


@dataclass(frozen=True, slots=True)
class Overload:
    """capacity_per_s: answers a second of clients that wait. alone_s: 95% of requests one by one were faster.

    queued, in_flight: the most that was seen. recovery_s: from the last request of the overload until probes
    were as fast as twice ``alone_s``, and stayed so; None: they did not. after: statuses of all probes.
    """

    capacity_per_s: float
    alone_s: float
    deadline_s: float
    load: Load
    queued: int
    in_flight: int
    watched: int
    recovery_s: float | None
    after: dict[int, int]

    @property
    def offered_per_s(self) -> float:
        return len(self.load.replies) / self.load.seconds

    @property
    def statuses(self) -> dict[int, int]:
        found = sorted({reply.status for reply in self.load.replies})
        return {status: self.load.count(status) for status in found}

    @property
    def faults(self) -> int:
        """Requests with a 500, or with no answer at all."""
        return self.load.count(500) + self.load.count(0)

    @property
    def accepted_s(self) -> tuple[float, float]:
        """Median and p99 of what was not turned away; a 504 was accepted, and took too long."""
        taken = [reply.seconds for reply in self.load.replies if reply.status in (200, 504)]
        if not taken:
            return float("nan"), float("nan")
        p50, p99 = np.percentile(taken, [50, 99])
        return float(p50), float(p99)

    def json(self) -> dict[str, Any]:
        p50, p99 = self.accepted_s
        return {
            "seconds": round(self.load.seconds, 1),
            "capacity_per_s": round(self.capacity_per_s, 2),
            "offered_per_s": round(self.offered_per_s, 2),
            "offered_over_capacity": round(self.offered_per_s / self.capacity_per_s, 2),
            "answered_per_s": round(self.load.per_s, 2),
            "given_up_by_clients": self.load.given_up,
            "statuses": {str(status): n for status, n in self.statuses.items()},
            "accepted_p50_s": round(p50, 3),
            "accepted_p99_s": round(p99, 3),
            "deadline_s": self.deadline_s,
            "most_queued": self.queued,
            "queue_limit": QUEUE_LIMIT,
            "most_in_flight": self.in_flight,
            "in_flight_limit": IN_FLIGHT,
            "looks_at_the_queue": self.watched,
            "alone_p95_s": round(self.alone_s, 3),
            "recovery_s": None if self.recovery_s is None else round(self.recovery_s, 2),
            "statuses_after": {str(status): n for status, n in sorted(self.after.items())},
        }


def measure(
    asks: Sequence[Asked], seconds: float, cores: Cores, *, deadline_s: float = 10.0, token_s: float = TOKEN_S
) -> Overload:
    """``seconds`` of overload, after a measurement of what the service can do."""
    settings = {
        "M3_ENGINE": "fake",
        "M3_FAKE_TOKEN_S": str(token_s),
        "M3_BATCH_SIZE": str(BATCH),
        "M3_QUEUE_SIZE": str(QUEUE),
        "M3_MAX_IN_FLIGHT": str(IN_FLIGHT),
        "M3_REQUEST_TIMEOUT_S": str(deadline_s),
    }
    bodies = [asked.body() for asked in asks]
    with (
        servers.serving(servers.SERVICE, cores.server, settings) as service,
        staying_on(cores.clients),
    ):
        return asyncio.run(_measure(service, bodies, seconds, deadline_s))


async def _measure(service: str, bodies: Sequence[bytes], seconds: float, deadline_s: float) -> Overload:
    one_by_one = await waiting(service, PATH, bodies[:20], 1)
    alone_s = float(np.percentile([reply.seconds for reply in one_by_one.replies], 95))
    many = [bodies[place % len(bodies)] for place in range(12 * BATCH)]
    capacity = (await waiting(service, PATH, many, 2 * BATCH)).per_s
    watch = _Watch(service)
    ended = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(watch.run())
        sending = group.create_task(coming(service, PATH, bodies, TIMES * capacity, seconds, ended=ended))
        await ended.wait()
        recovery_s, after = await _recovery(service, bodies, 2 * alone_s)
        watch.done = True
    load = sending.result()
    return Overload(
        capacity_per_s=capacity,
        alone_s=alone_s,
        deadline_s=deadline_s,
        load=load,
        queued=watch.queued,
        in_flight=watch.in_flight,
        watched=watch.looks,
        recovery_s=recovery_s,
        after=after,
    )


class _Watch:
    """Looks at the queue, through addresses that answer under any load."""

    def __init__(self, service: str) -> None:
        self.done = False
        self.queued = self.in_flight = self.looks = 0
        self._connection = Connection(service)

    async def run(self) -> None:
        while not self.done:
            ready = await self._connection.get("/ready")
            if ready.status == 200:
                self.looks += 1
                self.queued = max(self.queued, ready.json()["queued"])
            found = _IN_FLIGHT.search((await self._connection.get("/metrics")).body)
            if found is not None:
                self.in_flight = max(self.in_flight, int(float(found[1])) - 1)  # but the one that asks
            await asyncio.sleep(_WATCH_S)
        self._connection.close()


async def _recovery(
    service: str, bodies: Sequence[bytes], limit_s: float
) -> tuple[float | None, dict[int, int]]:
    """Probes of one client, from the moment on at which nobody else sends any more.

    Seconds until they were answered within ``limit_s`` and stayed so, and how often each status came.
    """
    connection = Connection(service)
    begin = time.perf_counter()
    well_since: float | None = None
    statuses: dict[int, int] = {}
    place = 0
    while time.perf_counter() < begin + _PROBES_S:
        reply = await connection.post(PATH, bodies[place % len(bodies)])
        place += 1
        statuses[reply.status] = statuses.get(reply.status, 0) + 1
        if reply.status != 200 or reply.seconds > limit_s:
            well_since = None
        elif well_since is None:
            well_since = time.perf_counter() - begin
        await asyncio.sleep(_PROBE_S)
    connection.close()
    return well_since, statuses
