"""``m3-train bench-service``: the service under load, as ratios within one run."""

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
    part: Annotated[
        list[str] | None,
        typer.Option(help="overhead, served, routed or overload; several times for several, else all."),
    ] = None,
    backbone: Annotated[str, typer.Option(help="'tiny' or a checkpoint, of served and routed.")] = "tiny",
    bundle: Annotated[
        str, typer.Option(help="Its router: 'embedded', 'none' or a bundle's folder.")
    ] = "embedded",
    rounds: Annotated[int, typer.Option(min=1, help="Turns of served and routed.")] = 5,
    requests: Annotated[int, typer.Option(min=1, help="Requests of a turn, and pictures.")] = 160,
    single: Annotated[int, typer.Option(min=1, help="Requests of overhead to each endpoint.")] = 1000,
    clients: Annotated[int, typer.Option(min=1, help="That wait for their answers at once.")] = 16,
    overload: Annotated[float, typer.Option(min=0.1, help="Seconds of overload.")] = 120.0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for service-bench.md and service-bench.json.")
    ] = None,
) -> None:
    """Measure the service; prints tables, then one JSON line. Needs a machine that does nothing else."""
    from training.bench.report import for_terminal
    from training.bench.service import report, results

    console = Console(stderr=True, highlight=False, markup=False)
    parts = tuple(part or results.PARTS)
    unknown = [name for name in parts if name not in results.PARTS]
    if unknown:
        refuse(f"--part {unknown[0]!r} is not known. Known: {', '.join(results.PARTS)}.")
    size = results.Size(rounds, single, requests, clients, overload)
    given = {
        "--backbone": None if backbone == "tiny" else _shown(backbone),
        "--bundle": None if bundle == "embedded" else _shown(bundle),
        "--rounds": rounds if rounds != 5 else None,
        "--requests": requests if requests != 160 else None,
        "--single": single if single != 1000 else None,
        "--clients": clients if clients != 16 else None,
        "--overload": overload if overload != 120.0 else None,
        "--out": None if out is None else _shown(out),
    }
    words = [word for name in part or () for word in ("--part", name)]
    words += [word for option, value in given.items() if value is not None for word in (option, f"{value}")]
    try:
        with console.status("starting") as status:
            measured = results.measure(
                parts,
                size,
                command=shlex.join(["m3-train", "bench-service", *words]),
                settings={"backbone": backbone, "bundle": bundle},
                on_progress=status.update,
            )
        written = report.write(measured, out) if out is not None else ()
    except (ValueError, OSError) as error:  # ServerError: the message has what the server said
        refuse(error)
    for sheet in report.sheets(measured):
        Console().print(for_terminal(sheet))
    for path in written:
        console.print(str(path))
    typer.echo(json.dumps(measured.json()))


def _shown(path: str | Path) -> str:
    """Relative to the working directory where it lies below it; a folder elsewhere is named, not located."""
    if not Path(path).exists() and isinstance(path, str):
        return path  # a hub name, 'none'
    relative = os.path.relpath(Path(path).absolute())
    return Path(path).name if relative.startswith("..") else relative
