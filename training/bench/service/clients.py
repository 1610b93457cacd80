"""Clients: a number of them that wait for their answers, or requests that come whether or not any is done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.bench.service.wire import Connection, Reply

MOST_CONNECTIONS = 1000
"""Open at once by `coming`; one request more is given up by the client, and counted."""


@dataclass(frozen=True, slots=True)
class Load:
    """replies: in the order of the requests. given_up: requests that the clients could not send."""

    seconds: float
    replies: tuple[Reply, ...]
    given_up: int = 0

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return sum(reply.status == 200 for reply in self.replies) / self.seconds

    def count(self, status: int) -> int:
        return sum(reply.status == status for reply in self.replies)


async def waiting(address: str, path: str, bodies: Sequence[bytes], clients: int) -> Load:
    """All of ``bodies``, by ``clients`` who each send the next one when they have their answer."""
    replies: list[Reply] = [Reply(0, 0.0)] * len(bodies)
    places = iter(range(len(bodies)))

    async def one() -> None:
        connection = Connection(address)
        try:
            for place in places:
                replies[place] = await connection.post(path, bodies[place])
        finally:
            connection.close()

    begin = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(clients)))
    return Load(time.perf_counter() - begin, tuple(replies))


async def coming(
    address: str,
    path: str,
    bodies: Sequence[bytes],
    per_s: float,
    seconds: float,
    *,
    ended: asyncio.Event,
    seed: int = 0,
) -> Load:
    """``bodies`` in turn, at random times, ``per_s`` in the mean: whoever comes does not know of the others.

    Times count from when a request was due, so a client that falls behind hides nothing. ended: is set when
    the last request was sent; answers may still be out then.
    """
    random = np.random.default_rng(seed)
    free: list[Connection] = []
    every: list[Connection] = []
    tasks: list[asyncio.Task[Reply]] = []
    given_up = sent = 0

    async def send(body: bytes, due: float) -> Reply:
        if not free:
            every.append(Connection(address))
        connection = free.pop() if free else every[-1]
        try:
            return await connection.post(path, body, due)
        finally:
            free.append(connection)

    begin = time.perf_counter()
    due = begin
    while (due := due + float(random.exponential(1 / per_s))) < begin + seconds:
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        if len(every) - len(free) >= MOST_CONNECTIONS:
            given_up += 1
        else:
            tasks.append(asyncio.create_task(send(bodies[sent % len(bodies)], due)))
            sent += 1
            await asyncio.sleep(0)  # it takes its connection before the next one looks for one
    took = time.perf_counter() - begin
    ended.set()
    replies = await asyncio.gather(*tasks)
    for connection in every:
        connection.close()
    return Load(took, tuple(replies), given_up)
