"""What the service takes above a bare route that decodes the same picture: one client, one request at a time.

The engine is the fake one. As the service comes, it keeps encoded pictures; a second one keeps none, so that
the fake engine's encoding (mean colours of patches) and a hand-over to its thread are in every request. Both
decode every picture, and remember the hashes of the files that they have seen.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from training.bench.service import servers
from training.bench.service.asks import PATH, Asked
from training.bench.service.cores import Cores, staying_on
from training.bench.service.wire import Connection, Reply

BARE = "bare route"
LIMIT_MS = 3.0
_PICTURES = 20
_WARM_UP = 2 * _PICTURES  # requests to each endpoint: all pictures are known then
_STAGES = ("decode", "encode", "route", "generate")
ANEW = f"{PATH}, every picture encoded anew"
_SETTINGS = {"M3_ENGINE": "fake"}
_KEEPS_NONE = {**_SETTINGS, "M3_IMAGE_CACHE_BYTES": "0"}


@dataclass(slots=True)
class Overhead:
    """Milliseconds by endpoint, `BARE` among them: one request to each in turn. stages: of the service's own
    timings of ``/v1/answer``."""

    times_ms: dict[str, list[float]] = field(default_factory=dict)
    stages_ms: dict[str, list[float]] = field(default_factory=dict)

    def median_ms(self, endpoint: str) -> float:
        return median(self.times_ms[endpoint])

    def above_ms(self, endpoint: str) -> float:
        """Difference of the medians to the bare route."""
        return self.median_ms(endpoint) - self.median_ms(BARE)

    def json(self) -> dict[str, Any]:
        return {
            "requests": len(self.times_ms[BARE]),
            "median_ms": {name: round(self.median_ms(name), 3) for name in self.times_ms},
            "above_ms": {name: round(self.above_ms(name), 3) for name in self.times_ms if name != BARE},
            "ratio": {
                name: round(self.median_ms(name) / self.median_ms(BARE), 3)
                for name in self.times_ms
                if name != BARE
            },
            "stages_ms": {name: round(median(values), 3) for name, values in self.stages_ms.items()},
        }


def chat_body(asked: Asked) -> bytes:
    """The same question for OpenAI's endpoint."""
    image = {"type": "image_url", "image_url": {"url": asked.fields["image"]}}
    content = [{"type": "text", "text": asked.question}, image]
    return json.dumps({"model": "fake", "messages": [{"role": "user", "content": content}]}).encode()


def measure(asks: Sequence[Asked], requests: int, cores: Cores) -> Overhead:
    """``requests`` to each endpoint, in turn."""
    result = Overhead({BARE: []}, {stage: [] for stage in _STAGES})
    with (
        servers.serving(servers.BARE, cores.server) as bare,
        servers.serving(servers.SERVICE, cores.server, _SETTINGS) as service,
        servers.serving(servers.SERVICE, cores.server, _KEEPS_NONE) as forgetful,
        staying_on(cores.clients),
    ):
        asyncio.run(
            _measure(result, asks, requests, Connection(bare), Connection(service), Connection(forgetful))
        )
    return result


async def _measure(
    result: Overhead,
    asks: Sequence[Asked],
    requests: int,
    plain: Connection,
    ours: Connection,
    forgetful: Connection,
) -> None:
    bodies = [(asked.body(), chat_body(asked)) for asked in asks[:_PICTURES]]
    for turn in range(-_WARM_UP, requests):
        question, chat = bodies[turn % len(bodies)]
        replies: Mapping[str, Reply] = {
            BARE: await plain.post(PATH, question),
            PATH: await ours.post(PATH, question),
            ANEW: await forgetful.post(PATH, question),
            "/v1/route": await ours.post("/v1/route", question),
            "/v1/chat/completions": await ours.post("/v1/chat/completions", chat),
        }
        for name, reply in replies.items():
            if reply.status != 200:
                raise servers.ServerError(f"{name} answered with {reply.status}.")
            if turn >= 0:
                result.times_ms.setdefault(name, []).append(1000 * reply.seconds)
        if turn >= 0:
            timings = replies[PATH].json()["timings_ms"]
            for stage, values in result.stages_ms.items():
                values.append(timings[stage])
    for connection in (plain, ours, forgetful):
        connection.close()
