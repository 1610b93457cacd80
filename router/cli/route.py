"""``m3-router route``: the decision alone, with the probabilities behind it."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import typer

from router.cli.loading import asked, deadline, read_image, running
from router.cli.options import (
    AsJson,
    Backbone,
    Budget,
    BundleOption,
    EngineOption,
    Image,
    MaxTokens,
    MinScale,
    Question,
    Scale,
)
from router.service.pipeline import Stopwatch
from router.service.replies import route_body
from router.settings import Settings


def command(
    image: Image,
    question: Question,
    scale: Scale = None,
    min_scale: MinScale = None,
    max_visual_tokens: MaxTokens = None,
    token_budget: Budget = None,
    as_json: AsJson = False,
    backbone: Backbone = None,
    bundle: BundleOption = None,
    engine: EngineOption = None,
) -> None:
    """Say at which scale QUESTION about IMAGE would be answered; nothing is generated."""
    settings = Settings.load(backbone=backbone, bundle=bundle, engine=engine)
    data = read_image(image)

    async def run() -> dict[str, Any]:
        async with running(settings) as pipeline:
            text, constraints = asked(
                pipeline,
                question,
                scale=scale,
                min_scale=min_scale,
                max_visual_tokens=max_visual_tokens,
                token_budget=token_budget,
            )
            routed = await pipeline.route(
                data, text, constraints, watch=Stopwatch(), deadline=deadline(settings)
            )
            return route_body(routed, pipeline, uuid.uuid4().hex).model_dump()

    report = asyncio.run(run())
    if as_json:
        typer.echo(json.dumps(report))
        return
    decision = report["decision"]
    typer.echo(f"scale {report['scale']}  ({decision['policy']}: {decision['reason']})")
    for each, chance in decision["probabilities"].items():
        mark = "  <- chosen" if int(each) == report["scale"] else ""
        typer.echo(f"{each:>6} tokens are enough with P = {chance:.3f}{mark}")
