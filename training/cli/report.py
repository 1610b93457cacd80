"""``m3-train report``: outcome tables and a bundle -> report.html, report.md, report.json.

``--paper`` writes what the M3 paper's own figures leave to a router, as paper.html, paper.md and paper.json.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from training.cli.refusal import refuse

if TYPE_CHECKING:
    from router.constraints import Constraints
    from training.report.timing import Times

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
        list[Path] | None,
        typer.Option(
            help="Table of the same samples, other pixels; may be given several times. "
            "Default: SPLIT+1, SPLIT+2 and so on beside the table, as far as they are there."
        ),
    ] = None,
    shifts: Annotated[
        list[Path] | None,
        typer.Option(
            help="Table of a shifted split, or folder of tables shift-*; may be given several times."
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(help="compare.json of `m3-train compare` on the same table: draws other candidates."),
    ] = None,
    times: Annotated[
        str | None,
        typer.Option(
            help="JSON of measured times of a 7B model, or MACHINE=FILE where it has several.",
            show_default="the paper's estimate",
        ),
    ] = None,
    accuracy_drop: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Report on the setting that is certified for this, not the default price."
        ),
    ] = None,
    delta: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Of --accuracy-drop.", show_default="0.05")
    ] = None,
    loss: Annotated[
        str | None, typer.Option(help="Of --accuracy-drop: regret or net.", show_default="regret")
    ] = None,
    draws: Annotated[int, typer.Option(min=100, help="Bootstrap draws by image.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap and of the choice of examples.")] = 0,
    data_dir: Annotated[
        Path | None, typer.Option(envvar="M3_DATA_DIR", help="Where pictures of official data sets lie.")
    ] = None,
    examples: Annotated[int, typer.Option(min=0, help="Examples with their pictures.")] = 9,
    paper: Annotated[
        bool,
        typer.Option("--paper", help="Instead: the M3 paper's own fixed scales and oracle."),
    ] = False,
) -> None:
    """Write the report of cost against accuracy."""
    from router import M3Error, embedded_bundle
    from training.report.inputs import load_inputs
    from training.report.openings import default_log, record_opening
    from training.report.peers import read_peers
    from training.report.places import FINAL
    from training.report.provenance import collect
    from training.report.words import headline
    from training.report.write import make_report, write_report

    start = time.monotonic()
    console = Console(stderr=True)
    if paper:
        _paper(out, start, others=(outcomes, bundle, replicate, shifts, compare, times, accuracy_drop, final))
        return
    folder = _shipped() if outcomes is None else outcomes
    router = None if bundle == NO_ROUTER else embedded_bundle() if bundle is None else Path(bundle)
    try:
        clock = None if times is None else _times(times)
        inputs = load_inputs(
            folder,
            router,
            FINAL if final else split,
            final=final,
            replicates=replicate or (),
            shifts=shifts or (),
            asked=_asked(accuracy_drop, delta, loss),
        )
        more = [("--replicate", shown(one)) for one in replicate or ()]
        more += [("--shifts", shown(shift)) for shift in shifts or ()]
        more += [] if compare is None else [("--compare", shown(compare))]
        more += [] if times is None else [("--times", _shown_times(times))]
        for option, value in (("--accuracy-drop", accuracy_drop), ("--delta", delta), ("--loss", loss)):
            more += [] if value is None else [(option, str(value))]
        said = _command(out, outcomes, bundle, split, final=final, more=more, draws=draws, seed=seed)
        provenance = collect(inputs, command=said, draws=draws, seed=seed)
        peers = None if compare is None else read_peers(compare, provenance, inputs.split)
        if final:
            # Logged before the numbers exist: an opening that then fails has still been one.
            log = default_log()
            opened = record_opening(provenance, log)
            console.print(f"Opening {opened} of the test split, logged in {shown(log)}: commit that file.")
        report = make_report(inputs, provenance, draws=draws, seed=seed, times=clock, peers=peers)
        written = write_report(report, out, examples=examples, data_dir=data_dir)
    except (ValueError, M3Error, OSError) as error:  # RecordError is a ValueError; messages have the remedy
        refuse(error)
    _done(headline(report), written, start)


def _done(said: str, written: Sequence[Path], start: float) -> None:
    Console().print(
        f"{said}\n{', '.join(map(str, written))} ({time.monotonic() - start:.0f} s)",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )


def _paper(out: Path, start: float, others: Sequence[object]) -> None:
    """Write the paper's page. others: values of options that are about outcomes, which it has none of."""
    from training.report.paper_headroom import benchmarks
    from training.report.paper_page import headline, write_paper
    from training.report.provenance import of_command

    if any(others):
        raise typer.BadParameter("--paper is of the paper's tables alone: leave out all options but --out.")
    said = shlex.join(["m3-train", "report", "--paper", "--out", shown(out)])
    _done(headline(benchmarks()), write_paper(out, of_command(said)), start)


def _shipped() -> Path:
    from data.reading import SHIPPED_OUTCOMES  # with the libraries that read tables

    return SHIPPED_OUTCOMES


def _times(text: str) -> Times:
    """ "MACHINE=FILE" or "FILE" -> the times in it."""
    from training.report.timing import read_times

    machine, equals, path = text.partition("=")
    return read_times(Path(path), machine) if equals and not Path(text).exists() else read_times(Path(text))


def _shown_times(text: str) -> str:
    machine, equals, path = text.partition("=")
    return f"{machine}={shown(Path(path))}" if equals and not Path(text).exists() else shown(Path(text))


def _asked(accuracy_drop: float | None, delta: float | None, loss: str | None) -> Constraints | None:
    """The drop that is asked for. Raises ValueError for a delta or a loss without one, and unknown losses."""
    from router.constraints import LOSSES, Constraints

    if accuracy_drop is None:
        if delta is not None or loss is not None:
            raise ValueError("--delta and --loss are those of an --accuracy-drop: give it too.")
        return None
    named = next((known for known in LOSSES if known == loss), None)
    if loss is not None and named is None:
        raise ValueError(f"--loss has value {loss!r}. Valid: {', '.join(LOSSES)}.")
    return Constraints(accuracy_drop=accuracy_drop, delta=delta, loss=named)


def _command(
    out: Path,
    outcomes: Path | None,
    bundle: str | None,
    split: str,
    *,
    final: bool,
    more: Sequence[tuple[str, str]],
    draws: int,
    seed: int,
) -> str:
    """The command that makes this report again. Folders elsewhere on the machine are named, not located."""
    words = ["m3-train", "report"]
    words += [] if outcomes is None else ["--outcomes", shown(outcomes)]
    words += [] if bundle is None else ["--bundle", bundle if bundle == NO_ROUTER else shown(Path(bundle))]
    words += ["--final"] if final else [] if split == "dev" else ["--split", split]
    for option, value in more:
        words += [option, value]
    words += [] if draws == 1000 else ["--draws", str(draws)]
    words += [] if seed == 0 else ["--seed", str(seed)]
    return shlex.join([*words, "--out", shown(out)])


def shown(path: Path) -> str:
    """Relative to the working directory where it lies below it, else the last part alone."""
    relative = os.path.relpath(path.absolute())
    return path.name if relative.startswith("..") else relative
