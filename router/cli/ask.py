"""``m3-router ask``: one answer, the scale that was chosen, and what that saved against the full scale."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Annotated, Any

import typer

from router.cli import options
from router.cli.loading import deadline
from router.cli.pictures import generated
from router.cli.question import Posed, posed, why
from router.service.replies import answer_body
from router.service.results import Answered
from router.settings import Settings


def command(
    image: options.Image,
    question: options.Question,
    more: options.MoreImages = None,
    scale: options.Scale = None,
    min_scale: options.MinScale = None,
    max_visual_tokens: options.MaxTokens = None,
    token_budget: options.Budget = None,
    accuracy_drop: options.Drop = None,
    delta: options.Delta = None,
    loss: options.Loss = None,
    cascade: options.Cascade = None,
    cascade_below: options.CascadeBelow = None,
    as_json: options.AsJson = False,
    compare: Annotated[
        bool, typer.Option(help="Answer at the full scale too, to measure the time that was saved.")
    ] = True,
    backbone: options.Backbone = None,
    bundle: options.BundleOption = None,
    engine: options.EngineOption = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    compile_parts: options.Compile = None,
    kv_budget: options.KvBudget = None,
    prompt_limit: options.PromptLimit = None,
    reducer: options.Reducer = None,
    vision_tower: options.VisionTower = None,
    ladder: options.Scales = None,
) -> None:
    """Answer QUESTION about IMAGE at the scale that they need; about several, each at its own scale."""
    settings = Settings.load(
        backbone=backbone,
        bundle=bundle,
        engine=engine,
        device=device,
        dtype=dtype,
        compile=compile_parts,
        kv_budget_bytes=kv_budget,
        prompt_limit=prompt_limit,
        reducer=reducer,
        vision_tower=vision_tower,
        ladder=ladder,
    )

    async def run() -> dict[str, Any]:
        async with posed(
            settings,
            (image, *(more or ())),
            question,
            scale=scale,
            min_scale=min_scale,
            max_visual_tokens=max_visual_tokens,
            token_budget=token_budget,
            accuracy_drop=accuracy_drop,
            delta=delta,
            loss=loss,
            cascade=cascade if cascade_below is None else cascade_below,
        ) as asked:
            return await _answer(asked, compare)

    report = asyncio.run(run())
    typer.echo(json.dumps(report) if as_json else _words(report))


async def _answer(asked: Posed, compare: bool) -> dict[str, Any]:
    pipeline, request_id = asked.pipeline, uuid.uuid4().hex
    if len(asked.images) > 1:
        return await _answer_about_all(asked, request_id)
    full_scale = pipeline.engine.ladder.full

    def until() -> float:
        return deadline(pipeline.settings)

    if compare:  # first passes pay for lazy set-up; on another picture, for encodings are kept
        (other,) = generated(1)
        await pipeline.answer(other, asked.turns, asked.constraints, deadline=until(), request_id="")
        await pipeline.answer_at(other, asked.turns, full_scale, deadline=until())
    done = await pipeline.answer(
        asked.image, asked.turns, asked.constraints, deadline=until(), request_id=request_id
    )
    report = answer_body(done, pipeline, request_id).model_dump()
    if compare:
        full = await pipeline.answer_at(asked.image, asked.turns, full_scale, deadline=until())
        report["full"] = _full(done, full)
    return report


async def _answer_about_all(asked: Posed, request_id: str) -> dict[str, Any]:
    """Several images in one prompt; at the full scale they might not fit, so nothing is compared."""
    pipeline = asked.pipeline
    done = await pipeline.answer_each(
        [(image, asked.constraints) for image in asked.images],
        asked.turns,
        deadline=deadline(pipeline.settings),
        request_id=request_id,
    )
    report = answer_body(done, pipeline, request_id).model_dump()
    report["scales"] = [part.decision.scale for part in done.parts]
    return report


def _full(done: Answered, full: Answered) -> dict[str, Any]:
    """The full scale's answer, and the milliseconds that both took after the image was encoded."""
    routing = done.timings_ms["route"] + done.timings_ms["generate"]
    return {
        "answer": full.generation.text,
        "scale": full.scale,
        "route_and_generate_ms": round(routing, 3),
        "full_generate_ms": full.timings_ms["generate"],
    }


def _words(report: dict[str, Any]) -> str:
    cost, decision = report["cost"], report["decision"]
    saved = [
        f"tokens   {cost['visual_tokens']} of {cost['full_visual_tokens']} "
        f"({_less(cost['visual_tokens'], cost['full_visual_tokens'])})",
        f"FLOPs    {cost['flops']:.3g} of {cost['full_flops']:.3g} "
        f"({_less(cost['flops'], cost['full_flops'])}; the whole path, tower included)",
    ]
    if full := report.get("full"):
        here, there = full["route_and_generate_ms"], full["full_generate_ms"]
        less = f"{_less(here, there)}; routing and generating, one run"
        saved.append(f"time     {here:.1f} ms of {there:.1f} ms ({less})")
        if full["answer"] != report["answer"]:
            saved.append(f"the full scale answers: {_printable(full['answer'])}")
    passes = ", then ".join(str(each["scale"]) for each in report["passes"])
    lines = [
        _printable(report["answer"]),
        "",
        f"scale    {report['scale']}  ({why(decision)})",
        *([f"scales   {', '.join(map(str, report['scales']))}"] if "scales" in report else []),
        *([f"passes   {passes}"] if len(report["passes"]) > 1 else []),
        *saved,
    ]
    return "\n".join(lines)


def _printable(text: str) -> str:
    """A model's text without what a terminal would obey."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def _less(part: float, whole: float) -> str:
    change = 100 * (1 - part / whole)
    return f"{change:.0f}% less" if change >= 0 else f"{-change:.0f}% more"
