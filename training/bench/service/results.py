"""All measurements of one run, the bars that they are held against, where they come from, and as JSON."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from training.bench.machine import processors
from training.bench.service import asks, overhead, overload, throughput
from training.bench.service.cores import Cores
from training.bench.service.overhead import Overhead
from training.bench.service.overload import Overload
from training.bench.service.throughput import Routed, Served
from training.report.provenance import of_command

PARTS = ("overhead", "served", "routed", "overload")


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured. single: requests of the overhead to each endpoint. requests: of every round of
    the throughputs. overload_s: seconds of it."""

    rounds: int = 5
    single: int = 1000
    requests: int = 160
    clients: int = 16
    overload_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Bar:
    """What is asked for, what was measured, and whether that is enough."""

    what: str
    asked: str
    got: str
    met: bool

    def json(self) -> dict[str, Any]:
        return {"what": self.what, "asked": self.asked, "got": self.got, "met": self.met}


@dataclass(frozen=True, slots=True)
class Results:
    """None: was not measured in this run."""

    provenance: dict[str, Any]
    overhead: Overhead | None = None
    served: Served | None = None
    routed: Routed | None = None
    overload: Overload | None = None

    @property
    def bars(self) -> list[Bar]:
        return [
            *([] if self.overhead is None else _overhead(self.overhead)),
            *([] if self.served is None else _served(self.served)),
            *([] if self.routed is None else _routed(self.routed)),
            *([] if self.overload is None else _overload(self.overload)),
        ]

    def json(self) -> dict[str, Any]:
        parts = {name: getattr(self, name) for name in PARTS}
        return {
            "bench": "m3-service",
            "provenance": self.provenance,
            "bars": [bar.json() for bar in self.bars],
            **{name: part.json() for name, part in parts.items() if part is not None},
        }


def measure(
    parts: Sequence[str],
    size: Size,
    *,
    command: str,
    settings: dict[str, Any],
    on_progress: Callable[[str], None] = lambda what: None,
) -> Results:
    """The named ``parts`` (`PARTS`). settings: fields of `router.settings.Settings` that name the backbone.

    Raises `ServerError` when a server does not start or refuses what it should answer.
    """
    cores = Cores.of_this_machine()
    provenance = _provenance(command, settings, cores, size)
    on_progress("drawing pictures")
    drawn = asks.draw(size.requests)
    found: dict[str, Any] = {}
    if "overhead" in parts:
        on_progress("overhead above a bare route")
        found["overhead"] = overhead.measure(drawn, size.single, cores)
    if "served" in parts:
        on_progress("throughput against the engine alone")
        found["served"] = throughput.measure_served(drawn, size.rounds, size.clients, cores, settings)
    if "routed" in parts:
        on_progress("routed against the full scale")
        found["routed"] = throughput.measure_routed(drawn, size.rounds, size.clients, cores, settings)
    if "overload" in parts:
        on_progress(f"overload for {size.overload_s:g} s")
        found["overload"] = overload.measure(drawn, size.overload_s, cores)
    return Results(provenance, **found)


def _told(value: float, kind: str, met: Callable[[float], bool]) -> str:
    """``value`` with as many digits as it takes to read on the side of the bar that it is on.

    kind: "%" with a digit at least, or "f" with two.
    """
    places = 1 if kind == "%" else 2
    while True:
        text = f"{value:.{places}{kind}}"
        read = float(text.rstrip("%")) / (100 if kind == "%" else 1)
        if met(read) == met(value) or places == 12:
            return text
        places += 1


def _overhead(of: Overhead) -> list[Bar]:
    def met(above: float) -> bool:
        return above < overhead.LIMIT_MS

    above = of.above_ms(asks.PATH)
    return [
        Bar(
            "Median time above a bare route",
            f"under {overhead.LIMIT_MS:g} ms",
            f"{_told(above, 'f', met)} ms",
            met(above),
        )
    ]


def _served(of: Served) -> list[Bar]:
    def met(least: float) -> bool:
        return least >= throughput.OF_OFFLINE

    return [
        Bar(
            "Throughput of the service over the engine's alone, at the worse scale",
            f"at least {throughput.OF_OFFLINE:.0%}",
            _told(of.least, "%", met),
            met(of.least),
        )
    ]


def _routed(of: Routed) -> list[Bar]:
    def met(kept: float) -> bool:
        return kept >= throughput.OF_FLOPS

    return [
        Bar(
            "Routed over always the full scale: gain in throughput, of what FLOPs promise",
            f"at least {throughput.OF_FLOPS:.0%}",
            f"{_told(of.kept, '%', met)} ({of.pairs.ratio:.2f} of {of.promised:.2f})",
            met(of.kept),
        )
    ]


def _overload(of: Overload) -> list[Bar]:
    def in_time(p99: float) -> bool:
        return p99 <= of.deadline_s

    def recovered(seconds: float) -> bool:
        return seconds <= overload.RECOVERY_S

    p99, after = of.accepted_s[1], of.recovery_s
    recovery = "not in 10 s" if after is None else f"{_told(after, 'f', recovered)} s"
    return [
        Bar("Overload: requests with a 500 or no answer", "0", str(of.faults), of.faults == 0),
        Bar(
            "Overload: p99 of what was accepted",
            f"within {of.deadline_s:g} s",
            f"{_told(p99, 'f', in_time)} s",
            in_time(p99),
        ),
        Bar(
            "Overload: the most that waited",
            f"at most {overload.QUEUE_LIMIT}",
            str(of.queued),
            of.watched > 0 and of.queued <= overload.QUEUE_LIMIT,
        ),
        Bar(
            "Overload: until it is as fast as before",
            f"within {overload.RECOVERY_S:g} s",
            recovery,
            after is not None and recovered(after),
        ),
    ]


def _provenance(command: str, settings: dict[str, Any], cores: Cores, size: Size) -> dict[str, Any]:
    packages = ("m3-router", "torch", "fastapi", "uvicorn", "onnxruntime", "pillow")
    count, name = processors()
    return {
        **of_command(command, packages),
        "backbone": settings["backbone"],
        "machine": f"{count} x {name}",
        "cores": cores.json(),
        "rounds": size.rounds,
        "load_average": round(os.getloadavg()[0], 2),
    }
