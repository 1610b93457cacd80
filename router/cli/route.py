"""``m3-router route``: the decision alone, with the probabilities behind it."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import typer

from router.cli import options
from router.cli.loading import deadline
from router.cli.question import posed, why
from router.service.cascading import alone
from router.service.replies import route_body
from router.service.timing import Stopwatch
from router.settings import Settings


def command(
    image: options.Image,
    question: options.Question,
    scale: options.Scale = None,
    min_scale: options.MinScale = None,
    max_visual_tokens: options.MaxTokens = None,
    token_budget: options.Budget = None,
    accuracy_drop: options.Drop = None,
    delta: options.Delta = None,
    loss: options.Loss = None,
    as_json: options.AsJson = False,
    backbone: options.Backbone = None,
    bundle: options.BundleOption = None,
    engine: options.EngineOption = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
) -> None:
    """Say at which scale QUESTION about IMAGE would be answered; nothing is generated."""
    settings = Settings.load(backbone=backbone, bundle=bundle, engine=engine, device=device, dtype=dtype)

    async def run() -> dict[str, Any]:
        async with posed(
            settings,
            [image],
            question,
            scale=scale,
            min_scale=min_scale,
            max_visual_tokens=max_visual_tokens,
            token_budget=token_budget,
            accuracy_drop=accuracy_drop,
            delta=delta,
            loss=loss,
        ) as asked:
            routed = await asked.pipeline.route(
                asked.image, asked.turns, asked.constraints, watch=Stopwatch(), deadline=deadline(settings)
            )
            return route_body(alone(routed), asked.pipeline, uuid.uuid4().hex).model_dump()

    report = asyncio.run(run())
    if as_json:
        typer.echo(json.dumps(report))
        return
    decision = report["decision"]
    typer.echo(f"scale {report['scale']}  ({why(decision)})")
    for each, chance in decision["probabilities"].items():
        mark = "  <- chosen" if int(each) == report["scale"] else ""
        enough = "token is enough" if each == "1" else "tokens are enough"
        typer.echo(f"{each:>6} {enough} with P = {chance:.3f}{mark}")
