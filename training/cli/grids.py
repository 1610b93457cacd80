"""``m3-train grids``: images of data sets -> a cache of pooled tokens that outcome tables lack."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.cli.refusal import refuse


def command(
    dataset: Annotated[
        list[str],
        typer.Option(help="What was labelled, as `m3-train label` takes it; may be given several times."),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder of the cache; images that it holds are not encoded again.")
    ],
    backbone: Annotated[str, typer.Option(help="Checkpoint folder, hub name, or 'tiny'.")] = "tiny",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    conversation: Annotated[
        str | None, typer.Option(help="Conversation template, where the table was labelled with one.")
    ] = None,
    vision_tower: Annotated[
        str | None,
        typer.Option(help="CLIP's folder or hub name, where the checkpoint's own does not resolve."),
    ] = None,
    ladder: Annotated[str | None, typer.Option(help="As the table was labelled with.")] = None,
    reducer: Annotated[str, typer.Option(help="As the table was labelled with.")] = "average",
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many samples of each data set.")
    ] = None,
    outcomes: Annotated[
        list[Path] | None,
        typer.Option(help="Tables to check the cache against when it is made; may be given several times."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(envvar="M3_DATA_DIR", help="Folder of the data sets that are named by split."),
    ] = None,
) -> None:
    """Encode every image once and keep its 36 pooled tokens, for `m3-train compare --grids`."""
    from data.records import read_outcomes
    from data.sources import load
    from m3_backbone import load_backbone
    from m3_backbone.scales import Ladder
    from training.grids import Grids, build

    console = Console(stderr=True, highlight=False, markup=False)

    def told(done: int) -> None:
        if done % 500 == 0:
            console.print(f"{done} images encoded")

    try:
        tables = [read_outcomes(folder) for folder in outcomes or ()]
        samples = chain.from_iterable([load(name, data_dir, limit) for name in dataset])
        model = load_backbone(
            backbone,
            dtype=dtype,
            device=device,
            conversation=conversation,
            vision_tower=vision_tower,
            ladder=None if ladder is None else Ladder.from_text(ladder),
            reducer=reducer,
        )
        built = build(model, samples, out, told=told)
        grids = Grids.open(out)
        for table in tables:
            grids.of(table)
    except KeyboardInterrupt:
        console.print("Stopped; finished parts are kept. Go on with the same command.")
        raise typer.Exit(130) from None
    except (ValueError, OSError) as error:  # GridsError, RecordError, SourceError: they have the remedy
        refuse(error)
    for image, why in list(built.unreadable.items())[:3]:
        console.print(f"Not opened: {image}: {why}")
    Console(highlight=False, markup=False).print(
        f"{built.cached} images in {out}, {built.encoded} of them encoded now, "
        f"{len(built.unreadable)} could not be opened."
        + (f" They are those of {len(tables)} tables." if tables else ""),
        soft_wrap=True,
    )
