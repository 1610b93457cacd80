"""``m3-train compare-reports``: what changed between two reports, and whether it is more than chance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from training.cli.refusal import refuse


def command(
    a: Annotated[Path, typer.Argument(metavar="A", help="A report.json, or the folder that holds one.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The same, of what A is compared with.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of Markdown.")] = False,
    draws: Annotated[int, typer.Option(min=100, help="Bootstrap draws by image.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
) -> None:
    """Compare two reports: differences from A to B with paired intervals, as Markdown."""
    from training.report.changes import changes_sheet, compare, comparison_json, facts_sheet, read_report
    from training.report.markdown import sheet

    try:
        found = compare(read_report(a), read_report(b), draws=draws, seed=seed)
    except ValueError as error:
        refuse(error)
    if as_json:
        typer.echo(json.dumps(comparison_json(found), indent=1, ensure_ascii=False, allow_nan=False))
        return
    typer.echo(sheet(changes_sheet(found)))
    typer.echo(f"\n{sheet(facts_sheet(found))}" if found.facts else "\nNothing else differs.")
