"""Requests a second through the service against its engine alone, both on the same core; and routed against
always the full scale, beside what the FLOPs of the whole path promise."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from training.bench.service import servers
from training.bench.service.asks import PATH, Asked
from training.bench.service.clients import Load, waiting
from training.bench.service.cores import Cores, staying_on
from training.bench.service.offline import engine_alone
from training.bench.service.pairs import Pairs

OF_OFFLINE = 0.9
OF_FLOPS = 0.8
SMALL, FULL = 36, 576


@dataclass(slots=True)
class Served:
    """pairs: requests a second of (service, engine alone), by scale. summarised: the same where the engine
    also makes the summaries that the service's router reads. differing: answers that were not the same both
    ways, for batches of other requests round otherwise."""

    requests: int
    clients: int
    pairs: dict[int, Pairs] = field(default_factory=dict)
    summarised: dict[int, Pairs] = field(default_factory=dict)
    differing: int = 0

    @property
    def least(self) -> float:
        return min(each.ratio for each in self.pairs.values())

    def json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "clients": self.clients,
            "differing_answers": self.differing,
            "scales": {
                str(scale): pairs.json("service_per_s", "engine_per_s") for scale, pairs in self.pairs.items()
            },
            "scales_with_summaries": {
                str(scale): pairs.json("service_per_s", "engine_per_s")
                for scale, pairs in self.summarised.items()
            },
        }


@dataclass(slots=True)
class Routed:
    """pairs: requests a second of (routed, always the full scale). flops, visual_tokens: means per request of
    the same two, of the whole path."""

    requests: int
    clients: int
    pairs: Pairs = field(default_factory=Pairs)
    flops: tuple[float, float] = (0.0, 0.0)
    visual_tokens: tuple[float, float] = (0.0, 0.0)

    @property
    def promised(self) -> float:
        """How many times the throughput would be if time went with FLOPs."""
        return self.flops[1] / self.flops[0]

    @property
    def kept(self) -> float:
        """The throughput's ratio over the promised one."""
        return self.pairs.ratio / self.promised

    def json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "clients": self.clients,
            **self.pairs.json("routed_per_s", "full_per_s"),
            "visual_tokens": [round(value, 2) for value in self.visual_tokens],
            "flops": [round(value) for value in self.flops],
            "flops_ratio": round(self.promised, 4),
            "of_promised": round(self.kept, 4),
        }


def measure_served(
    asks: Sequence[Asked], rounds: int, clients: int, cores: Cores, settings: dict[str, Any]
) -> Served:
    """settings: fields of `router.settings.Settings` for both, that name the backbone."""
    result = Served(len(asks), clients)
    with (
        engine_alone(cores.server, {**settings, "image_cache_bytes": 0}) as offline,
        servers.serving(servers.SERVICE, cores.server, variables(settings)) as service,
        staying_on(cores.clients),
    ):
        for scale in (SMALL, FULL):
            pairs = result.pairs[scale] = Pairs()
            summarised = result.summarised[scale] = Pairs()
            bodies = [asked.body(scale=scale) for asked in asks]
            for turn in range(-1, rounds):
                few = slice(None) if turn >= 0 else slice(2 * clients)  # what is set up once is paid here
                load = answered(service, bodies[few], clients)
                seconds, answers = offline.answer(asks[few], scale)
                longer, _ = offline.answer(asks[few], scale, summary=True)
                if turn >= 0:
                    pairs.note(load.per_s, len(answers) / seconds)
                    summarised.note(load.per_s, len(answers) / longer)
                    texts = [reply.json()["answer"] for reply in load.replies]
                    result.differing += sum(a != b for a, b in zip(texts, answers, strict=True))
    return result


def measure_routed(
    asks: Sequence[Asked], rounds: int, clients: int, cores: Cores, settings: dict[str, Any]
) -> Routed:
    """The router that the service has for that backbone, against ``scale`` 576 in every request."""
    result = Routed(len(asks), clients)
    kinds = ([asked.body() for asked in asks], [asked.body(scale=FULL) for asked in asks])
    costs: tuple[list[Any], list[Any]] = ([], [])
    with (
        servers.serving(servers.SERVICE, cores.server, variables(settings)) as service,
        staying_on(cores.clients),
    ):
        for bodies in kinds:
            answered(service, bodies[: 2 * clients], clients)
        for _ in range(rounds):
            loads = [answered(service, bodies, clients) for bodies in kinds]
            result.pairs.note(loads[0].per_s, loads[1].per_s)
            for cost, load in zip(costs, loads, strict=True):
                cost += [reply.json()["cost"] for reply in load.replies]
    result.flops, result.visual_tokens = (
        (mean(c[name] for c in costs[0]), mean(c[name] for c in costs[1]))
        for name in ("flops", "visual_tokens")
    )
    return result


def answered(address: str, bodies: Sequence[bytes], clients: int) -> Load:
    """All of ``bodies``; raises `ServerError` when one was not answered."""
    load = asyncio.run(waiting(address, PATH, bodies, clients))
    failed = [reply.status for reply in load.replies if reply.status != 200]
    if failed:
        raise servers.ServerError(
            f"{len(failed)} of {len(bodies)} requests failed, the first with {failed[0]}."
        )
    return load


def variables(settings: dict[str, Any]) -> dict[str, str]:
    """``settings`` for a server's environment. Encoded pictures are not kept: each request pays for one."""
    given = {f"M3_{name.upper()}": str(value) for name, value in settings.items()}
    return {**given, "M3_IMAGE_CACHE_BYTES": "0"}
