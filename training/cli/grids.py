"""``m3-train grids``: the finer pooled tokens that lie in a cache beside an outcome table."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.cli.refusal import refuse

EVERY_SECONDS = 10.0


def command(
    dataset: Annotated[str, typer.Option(help="What was labelled, as `m3-train label` takes it.")],
    table: Annotated[Path, typer.Option(help="Folder of the outcome table; the cache goes beside it.")],
    backbone: Annotated[str, typer.Option(help="Checkpoint folder, hub name, or 'tiny'.")] = "tiny",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    conversation: Annotated[str | None, typer.Option(help="As the table was labelled with.")] = None,
    ladder: Annotated[str | None, typer.Option(help="As the table was labelled with.")] = None,
    reducer: Annotated[str, typer.Option(help="As the table was labelled with.")] = "average",
    vision_tower: Annotated[
        str | None,
        typer.Option(help="CLIP's folder or hub name, where the checkpoint's own does not resolve."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(envvar="M3_DATA_DIR", help="Folder of the data sets that are named by split."),
    ] = None,
) -> None:
    """Encode every image of a table once more, for candidates that read scale 36 (`attention_fine`).

    `m3-train label` leaves the same cache; tables that were copied without it, as those of this repository
    are, get it here. Interrupt and call again: it goes on where it was.
    """
    from data.records import read_outcomes
    from data.sources import load
    from m3_backbone import load_backbone
    from m3_backbone.scales import Ladder
    from router.errors import M3Error
    from training.grids import build
    from training.prefetch import PrefetchError

    console = Console(stderr=True, highlight=False, markup=False)
    last = time.monotonic()

    def told(encoded: int) -> None:
        nonlocal last
        if time.monotonic() - last > EVERY_SECONDS:
            last = time.monotonic()
            console.print(f"{encoded} of {len(read.image_ids)} images encoded")

    try:
        read = read_outcomes(table)
        model = load_backbone(
            backbone,
            dtype=dtype,
            device=device,
            conversation=conversation,
            ladder=None if ladder is None else Ladder.from_text(ladder),
            reducer=reducer,
            vision_tower=vision_tower,
        )
        built = build(model, read, table, load(dataset, data_dir), told=told)
    except KeyboardInterrupt:
        console.print("Stopped; finished parts are kept. Go on with the same command.")
        raise typer.Exit(130) from None
    except (M3Error, ValueError, OSError, PrefetchError) as error:  # they have the remedy
        refuse(error)
    for image, why in list(built.faults.items())[:3]:
        console.print(f"Not opened: {image}: {why}")
    Console(highlight=False, markup=False).print(
        f"{built.cached} of {len(read.image_ids)} images of {table} have their finer tokens, "
        f"{built.encoded} of them encoded now; {len(built.faults)} could not be opened.",
        soft_wrap=True,
    )
