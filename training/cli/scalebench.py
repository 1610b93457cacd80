"""``m3-train scalebench``: its splits, contact sheets of its families, and the hashes of what it draws."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from training.contact_sheet import Backbone


def command(
    preview: Annotated[
        Path | None, typer.Option(help="Folder for contact sheets, one for each family.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Split whose pictures the sheets show. Default: dev, and shift-families for the families "
            "that no other split has."
        ),
    ] = None,
    per_family: Annotated[int, typer.Option(min=1, help="Pictures of each family on its sheet.")] = 8,
    backbone: Annotated[
        str,
        typer.Option(help="Whose answers at each scale the sheets show: folder, hub name, 'tiny' or 'none'."),
    ] = "tiny",
    digests: Annotated[
        bool, typer.Option("--digests", help="Draw every split and compare with the recorded hashes.")
    ] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Draw every split and record the hashes anew.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that draw; one per core.")] = None,
) -> None:
    """Without an option, list the splits."""
    console = Console(stderr=True, highlight=False, markup=False)
    try:
        if preview is not None:
            _preview(preview, split, per_family, backbone, console)
        if digests or record:
            _digests(record, workers or os.cpu_count() or 1, console)
    except (ValueError, OSError) as error:  # an unknown split, a checkpoint that cannot be used, no record
        console.print(f"Error: {error}", soft_wrap=True)
        raise typer.Exit(1) from None
    if preview is None and not digests and not record:
        Console().print(_listed())


def _preview(folder: Path, split: str | None, per_family: int, backbone: str, console: Console) -> None:
    from data.scalebench import PLANS
    from data.splits import SplitError
    from training.contact_sheet import draw, show

    if split is not None and split not in PLANS:
        raise SplitError(f"Split {split!r} does not exist. Splits: {', '.join(PLANS)}.")
    model = _loaded(backbone)
    folder.mkdir(parents=True, exist_ok=True)
    for each in ("dev", "shift-families") if split is None else (split,):
        for family, shown in show(each, per_family, model).items():
            path = folder / f"{each}-{family}.png"
            draw(shown).save(path)
            console.print(str(path), soft_wrap=True)


def _loaded(backbone: str) -> Backbone | None:
    if backbone == "none":
        return None
    from m3_backbone import load_backbone

    return load_backbone(backbone)


def _digests(record: bool, workers: int, console: Console) -> None:
    from data.scalebench.digests import RECORD, Digests, differences
    from data.scalebench.digests import record as draw

    recorded = None if record else Digests.read()
    drawn = draw(workers, lambda split: console.print(f"drawn: {split}"))
    if recorded is None:
        drawn.write()
        console.print(f"Recorded in {RECORD}.", soft_wrap=True)
        return
    lines = differences(recorded, drawn)
    for line in lines:
        console.print(line)
    if lines and not recorded.same_pillow:
        console.print(f"The record was made with Pillow {recorded.pillow}, this is {drawn.pillow}.")
    if lines:
        raise typer.Exit(1)
    console.print("Every split is what was recorded.")


def _listed() -> Table:
    from data.scalebench.plans import EDITION, NOVELTY_SPLITS, PLANS

    table = Table("split", "pictures", "questions each", "families", "for", title=EDITION)
    for split, plan in PLANS.items():
        least, most = plan.questions or (0, 0)
        each = "all" if plan.questions is None else f"{least}" if least == most else f"{least} to {most}"
        use = f"replicate of {plan.replica_of}" if plan.replica_of else ""
        use = "tuning novelty" if split in NOVELTY_SPLITS else use
        table.add_row(split, f"{plan.images:,}", each, str(len(set(plan.families))), use)
    return table
