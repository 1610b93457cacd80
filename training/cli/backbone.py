"""``m3-train backbone``: trains m3-tiny from nothing."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from training.cli.refusal import refuse


def command(
    out: Annotated[Path, typer.Option(help="Run folder: pictures, checkpoints, metrics.")] = Path(
        "runs/tiny"
    ),
    export: Annotated[
        Path | None, typer.Option(help="Where the checkpoint goes (default: OUT/checkpoint).")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Checkpoint whose weights the run begins with: folder, hub name, or 'tiny'."),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(help="Run folder whose recipe, pictures, tower and features this run shares."),
    ] = None,
    stage: Annotated[str, typer.Option(help="One stage alone, for debugging.")] = "all",
    images: Annotated[int | None, typer.Option(min=100, help="How many training pictures to draw.")] = None,
    first_image: Annotated[
        int | None,
        typer.Option(min=0, help="Number of the first of them: new pictures for a run that has a --start."),
    ] = None,
    minutes_tower: Annotated[float | None, typer.Option(help="Minutes of tower pre-training.")] = None,
    minutes_phase1: Annotated[float | None, typer.Option(help="Minutes mainly at scales 36 and 144.")] = None,
    minutes_phase2: Annotated[
        float | None, typer.Option(help="Minutes at all five scales, 576 most.")
    ] = None,
    rate_share: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=1.0, help="Share of the peak rates: a run with --start forgets less at a lower one."
        ),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
) -> None:
    """Train m3-tiny with M3's objective, from nothing or from another checkpoint's weights.

    Interrupt and call again: it goes on where it was.
    """
    import json
    from dataclasses import asdict

    from training.backbone.progress import Interrupted
    from training.backbone.recipe import Recipe
    from training.backbone.shared import recipe_of, share
    from training.backbone.stages import STAGES, BackboneRun
    from training.backbone.start import check_start

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    given = {
        "start": start,
        "images": images,
        "first_image": first_image,
        "minutes_tower": minutes_tower,
        "minutes_phase1": minutes_phase1,
        "minutes_phase2": minutes_phase2,
        "rate_share": rate_share,
        "threads": threads,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if stage not in (*STAGES, "all"):
        refuse(f"--stage has value {stage!r}. Stages: {', '.join(STAGES)}, all.")
    try:
        recipe = Recipe(**changes) if like is None else recipe_of(like, **changes)  # type: ignore[arg-type]
        check_start(recipe)
        out.mkdir(parents=True, exist_ok=True)
        if like is not None:
            share(out, like)
        (out / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1), encoding="utf-8")
    except OSError as error:
        refuse(f"--out has value '{out}'. It cannot be written ({error.strerror}).")
    except ValueError as error:  # another run's recipe, or a checkpoint to start from
        refuse(error)
    try:
        BackboneRun(out, recipe, export).run(stage)
    except Interrupted as stopped:
        typer.echo(f"{stopped}; saved. Go on with the same command.", err=True)
        raise typer.Exit(130) from None
