"""``m3-train one-scale``: M3 against a model per scale and against pooling without training."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.cli.refusal import refuse


def command(
    run: Annotated[Path, typer.Option(help="Run folder of m3-train backbone, whose tower all models share.")],
    out: Annotated[Path, typer.Option(help="Folder for one-scale.md, .svg and .json.")],
    minutes: Annotated[float, typer.Option(help="Minutes of training for each of the six models.")] = 12.0,
    dataset: Annotated[str, typer.Option(help="Questions to ask, as NAME:SPLIT.")] = "scalebench:dev",
    limit: Annotated[int | None, typer.Option(min=1, help="Ask at most so many questions.")] = None,
    seed: Annotated[int, typer.Option(help="Of the resamples.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; those of RUN by default.")] = None,
) -> None:
    """Train six language models on one tower, ask each the same questions, and write the comparison.

    Interrupt and call again: what is finished is not made again. Models and tables are in RUN/one-scale.
    """
    from data.records import RecordError
    from training.backbone.progress import Interrupted
    from training.one_scale.make import make

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        written = make(run, out, minutes=minutes, dataset=dataset, limit=limit, seed=seed, threads=threads)
    except Interrupted as stopped:
        typer.echo(f"{stopped}; saved. Go on with the same command.", err=True)
        raise typer.Exit(130) from None
    except (ValueError, RecordError, FileNotFoundError) as error:
        refuse(error)
    console = Console(highlight=False)
    for path in written:
        console.print(str(path), soft_wrap=True)
