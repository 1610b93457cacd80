"""``m3-train bench-backbone``: ours against the reference's way, as ratios within one run."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.cli.refusal import refuse


def command(
    backbone: Annotated[str, typer.Option(help="Checkpoint folder, hub name, or 'tiny'.")] = "tiny",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    vision_tower: Annotated[
        str | None,
        typer.Option(help="CLIP's folder, where the checkpoint's own name of it does not resolve."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; torch's choice by default.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Turns of the labelling; the others take more.")] = 3,
    pairs: Annotated[int, typer.Option(min=1, help="Questions to label, four to a picture.")] = 200,
    random: Annotated[
        str | None,
        typer.Option(help="Random weights of an architecture instead of a checkpoint: 'llava-7b'."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for backbone-bench.md and backbone-bench.json.")
    ] = None,
) -> None:
    """Measure the backbone against the reference's way; prints tables, then one JSON line."""
    import torch

    from m3_backbone.devices import require_device
    from m3_backbone.machine import keep_freed_memory
    from training.bench import models, report, results
    from training.bench.workload import Workload

    console = Console(stderr=True, highlight=False, markup=False)
    given = {
        "--backbone": None if backbone == "tiny" else _shown(backbone),
        "--dtype": None if dtype == "float32" else dtype,
        "--device": None if device == "cpu" else device,
        "--vision-tower": None if vision_tower is None else _shown(vision_tower),
        "--threads": threads,
        "--repeats": None if repeats == 3 else repeats,
        "--pairs": None if pairs == 200 else pairs,
        "--random": random,
        "--out": None if out is None else _shown(out),
    }
    words = [word for option, value in given.items() if value is not None for word in (option, str(value))]
    if threads is not None:
        torch.set_num_threads(threads)
    keep_freed_memory()  # as every process does that loads a model; both ways have it
    try:
        require_device(device)
        with console.status("loading") as status:
            if random is None:
                sides = models.load(backbone, dtype=dtype, device=device, vision_tower=vision_tower)
            else:
                sides = models.random(random, dtype=dtype, device=device)
            measured = results.measure(
                sides,
                Workload.draw(pairs),
                command=shlex.join(["m3-train", "bench-backbone", *words]),
                dtype=dtype,
                repeats=repeats,
                on_progress=status.update,
            )
        written = report.write(measured, out) if out is not None else ()
    except (ValueError, OSError) as error:  # BenchError, CheckpointError: the message has the remedy
        refuse(error)
    for sheet in report.sheets(measured):
        Console().print(report.for_terminal(sheet))
    for path in written:
        console.print(str(path))
    typer.echo(json.dumps(measured.json()))


def _shown(path: str | Path) -> str:
    """Relative to the working directory where it lies below it; a folder elsewhere is named, not located."""
    if not Path(path).exists() and isinstance(path, str):
        return path  # a hub name
    relative = os.path.relpath(Path(path).absolute())
    return Path(path).name if relative.startswith("..") else relative
