"""``m3-router bench``: throughput and latency of every fixed scale and of the router, side by side.

Conditions take turns within each repeat, so that a machine that slows down slows all of them; what to
compare are the ratios within one run. Encoded images are not kept between requests: every request pays
for its own. A fixed scale is not charged for a router. Then the router by itself (`router.cli.router_speed`),
and the engine's summary of an image and a question that it reads.

Not measured: HTTP, answers' accuracy (that is `m3-train report`).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from m3_backbone.images import decode
from router.cli.loading import MADE_UP, deadline, running
from router.cli.options import Backbone, BundleOption, Device, Dtype, EngineOption
from router.cli.pictures import from_folder, generated
from router.cli.router_speed import router_times, told
from router.constraints import Constraints
from router.router import Router
from router.service.pipeline import Pipeline
from router.service.results import Answered
from router.settings import Settings

_QUESTIONS = ("What colour is the circle?", "How many squares are there?", "What is in the top left?")
ROUTED = "routed"


@dataclass(slots=True)
class Measured:
    """What one condition (a fixed scale, or the router) took: per request, and per round."""

    latencies_ms: list[float] = field(default_factory=list)
    visual_tokens: list[int] = field(default_factory=list)
    flops: list[int] = field(default_factory=list)
    requests_per_s: list[float] = field(default_factory=list)

    def row(self) -> dict[str, float]:
        p50, p95 = np.percentile(self.latencies_ms, [50, 95])
        return {
            "requests_per_s": round(float(np.median(self.requests_per_s)), 3),
            "latency_p50_ms": round(float(p50), 3),
            "latency_p95_ms": round(float(p95), 3),
            "visual_tokens": round(float(np.mean(self.visual_tokens)), 2),
            "flops": round(float(np.mean(self.flops))),
        }


def command(
    images: Annotated[
        Path | None, typer.Option(help="Folder of pictures; without it, pictures are generated.")
    ] = None,
    question: Annotated[list[str] | None, typer.Option(help="Ask this; may be given several times.")] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Requests per condition and repeat.")] = 24,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds over all conditions.")] = 3,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests in flight.")] = 4,
    backbone: Backbone = None,
    bundle: BundleOption = None,
    engine: EngineOption = None,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Time every fixed scale and the router; prints a table, then one JSON line."""
    loaded = Settings.load(
        backbone=backbone, bundle=bundle, engine=engine, device=device, dtype=dtype, image_cache_bytes=0
    )
    settings = loaded.model_copy(update={"queue_size": max(loaded.queue_size, concurrency)})
    pictures = generated(n) if images is None else from_folder(images)
    items = [
        (pictures[i % len(pictures)], (question or _QUESTIONS)[i % len(question or _QUESTIONS)])
        for i in range(n)
    ]

    async def run() -> tuple[dict[str, Any], dict[str, Measured], dict[str, float] | None]:
        async with running(settings) as pipeline:
            facts = {
                "engine": settings.engine,
                "model": pipeline.engine.name,
                "router": pipeline.router_version,
            }
            measured = await measure(pipeline, items, repeats=repeats, concurrency=concurrency)
            return facts, measured, await alone(pipeline, items)

    facts, measured, itself = asyncio.run(run())
    rows = {name: each.row() for name, each in measured.items()}
    full = list(rows)[-2] if ROUTED in rows else list(rows)[-1]
    ratios = {
        name: {
            "throughput": round(row["requests_per_s"] / rows[full]["requests_per_s"], 3),
            "latency_p50": round(row["latency_p50_ms"] / rows[full]["latency_p50_ms"], 3),
            "visual_tokens": round(row["visual_tokens"] / rows[full]["visual_tokens"], 4),
            "flops": round(row["flops"] / rows[full]["flops"], 4),
        }
        for name, row in rows.items()
    }
    if settings.engine == "fake":
        typer.echo(MADE_UP, err=True)
    Console().print(_table(rows, ratios, full))
    if itself is not None:
        typer.echo(told(itself))
    summary = {
        "bench": "m3-router",
        **facts,
        "pictures": "generated" if images is None else len(pictures),
        "n": n,
        "repeats": repeats,
        "concurrency": concurrency,
        "rows": rows,
        "ratios_to": full,
        "ratios": ratios,
        "router_alone": itself,
    }
    typer.echo(json.dumps(summary))


async def measure(
    pipeline: Pipeline, items: Sequence[tuple[bytes, str]], *, repeats: int, concurrency: int
) -> dict[str, Measured]:
    """Condition -> what it took; fixed scales in the ladder's order, then ``routed`` if there is a router."""
    conditions = [str(scale) for scale in pipeline.engine.ladder]
    if pipeline.router is not None:
        conditions.append(ROUTED)
    measured = {name: Measured() for name in conditions}
    for name in conditions:  # lazy set-up is paid for here
        await _one(pipeline, name, *items[0])
    for turn in range(repeats):
        shift = turn % len(conditions)  # each repeat starts with another condition
        for name in conditions[shift:] + conditions[:shift]:
            await _round(pipeline, name, items, concurrency, measured[name])
    return measured


async def alone(pipeline: Pipeline, items: Sequence[tuple[bytes, str]]) -> dict[str, float] | None:
    """`router_times` on these requests, and the median of what their summaries take one by one.

    None where the pipeline has no router of a bundle.
    """
    if not isinstance(pipeline.router, Router):
        return None
    inputs, took = [], []
    for image, question in items:
        encoded = await pipeline.engine.encode(decode(image))
        start = time.perf_counter()
        inputs.append(await pipeline.engine.summarise(encoded, (question,)))
        took.append(1e6 * (time.perf_counter() - start))
    return {**router_times(pipeline.router, inputs), "summary_p50_us": round(float(np.median(took)), 1)}


async def _round(
    pipeline: Pipeline, name: str, items: Sequence[tuple[bytes, str]], concurrency: int, into: Measured
) -> None:
    places = asyncio.Semaphore(concurrency)

    async def one(image: bytes, question: str) -> None:
        async with places:
            done = await _one(pipeline, name, image, question)
        into.latencies_ms.append(done.timings_ms["total"])
        into.visual_tokens.append(done.cost.visual_tokens)
        into.flops.append(done.cost.flops)

    begin = time.perf_counter()
    await asyncio.gather(*(one(*item) for item in items))
    into.requests_per_s.append(len(items) / (time.perf_counter() - begin))


async def _one(pipeline: Pipeline, name: str, image: bytes, question: str) -> Answered:
    until = deadline(pipeline.settings)
    if name == ROUTED:
        return await pipeline.answer(image, (question,), Constraints(), deadline=until, request_id="")
    return await pipeline.answer_at(image, (question,), int(name), deadline=until)


def _table(rows: dict[str, dict[str, float]], ratios: dict[str, dict[str, float]], full: str) -> Table:
    table = Table(title=f"Within this run; × is against scale {full}")
    table.add_column("scale")
    for heading in ("tokens", "requests/s", "×", "p50 ms", "×", "p95 ms", "GFLOPs", "×"):
        table.add_column(heading, justify="right")
    for name, row in rows.items():
        ratio = ratios[name]
        table.add_row(
            name,
            f"{row['visual_tokens']:.1f}",
            f"{row['requests_per_s']:.2f}",
            f"{ratio['throughput']:.2f}",
            f"{row['latency_p50_ms']:.1f}",
            f"{ratio['latency_p50']:.2f}",
            f"{row['latency_p95_ms']:.1f}",
            f"{row['flops'] / 1e9:.2f}",
            f"{ratio['flops']:.2f}",
        )
    return table
