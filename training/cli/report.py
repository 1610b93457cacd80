"""``m3-train report``: outcome tables and a bundle -> report.html, report.md, report.json."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

NO_ROUTER = "none"


def command(
    out: Annotated[Path, typer.Option(help="Folder for report.html, report.md and report.json.")],
    outcomes: Annotated[
        Path | None,
        typer.Option(help="Folder of outcome tables, one per split, or of one table. Default: m3-tiny's."),
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option(help=f"Bundle of the router; '{NO_ROUTER}' for a report without. Default: m3-tiny's."),
    ] = None,
    split: Annotated[str, typer.Option(help="Split to report on, where the folder has several.")] = "dev",
    final: Annotated[
        bool, typer.Option("--final", help="Open the test split; the opening is logged for good.")
    ] = False,
    replicate: Annotated[
        Path | None,
        typer.Option(
            help="Table of the same samples, other pixels. Default: SPLIT+1 beside the table, if there."
        ),
    ] = None,
    shifts: Annotated[
        list[Path] | None,
        typer.Option(
            help="Table of a shifted split, or folder of tables shift-*; may be given several times."
        ),
    ] = None,
    draws: Annotated[int, typer.Option(min=100, help="Bootstrap draws by image.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap and of the choice of examples.")] = 0,
    data_dir: Annotated[
        Path | None, typer.Option(envvar="M3_DATA_DIR", help="Where pictures of official data sets lie.")
    ] = None,
    examples: Annotated[int, typer.Option(min=0, help="Examples with their pictures.")] = 9,
) -> None:
    """Write the report of cost against accuracy."""
    from router import M3Error, embedded_bundle
    from training.fit import shipped_outcomes
    from training.report.inputs import load_inputs
    from training.report.openings import default_log, record_opening
    from training.report.places import FINAL
    from training.report.provenance import collect
    from training.report.words import headline
    from training.report.write import make_report, write_report

    start = time.monotonic()
    console = Console(stderr=True)
    folder = shipped_outcomes() if outcomes is None else outcomes
    router = None if bundle == NO_ROUTER else embedded_bundle() if bundle is None else Path(bundle)
    try:
        inputs = load_inputs(
            folder, router, FINAL if final else split, final=final, replicate=replicate, shifts=shifts or ()
        )
        more = [("--replicate", replicate)] if replicate is not None else []
        more += [("--shifts", shift) for shift in shifts or ()]
        said = _command(out, outcomes, bundle, split, final=final, more=more, draws=draws, seed=seed)
        provenance = collect(inputs, command=said, draws=draws, seed=seed)
        if final:
            # Logged before the numbers exist: an opening that then fails has still been one.
            log = default_log()
            times = record_opening(provenance, log)
            console.print(f"Opening {times} of the test split, logged in {shown(log)}: commit that file.")
        report = make_report(inputs, provenance, draws=draws, seed=seed)
        written = write_report(report, out, examples=examples, data_dir=data_dir)
    except (ValueError, M3Error, OSError) as error:  # RecordError is a ValueError; messages have the remedy
        console.print(f"Error: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    Console().print(
        f"{headline(report)}\n{', '.join(map(str, written))} ({time.monotonic() - start:.0f} s)",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )


def _command(
    out: Path,
    outcomes: Path | None,
    bundle: str | None,
    split: str,
    *,
    final: bool,
    more: Sequence[tuple[str, Path]],
    draws: int,
    seed: int,
) -> str:
    """The command that makes this report again. Folders elsewhere on the machine are named, not located."""
    words = ["m3-train", "report"]
    words += [] if outcomes is None else ["--outcomes", shown(outcomes)]
    words += [] if bundle is None else ["--bundle", bundle if bundle == NO_ROUTER else shown(Path(bundle))]
    words += ["--final"] if final else [] if split == "dev" else ["--split", split]
    for option, folder in more:
        words += [option, shown(folder)]
    words += [] if draws == 1000 else ["--draws", str(draws)]
    words += [] if seed == 0 else ["--seed", str(seed)]
    return shlex.join([*words, "--out", shown(out)])


def shown(path: Path) -> str:
    """Relative to the working directory where it lies below it, else the last part alone."""
    relative = os.path.relpath(path.absolute())
    return path.name if relative.startswith("..") else relative
