"""``m3-train calibrate``: answers that the service watched -> its bundle, calibrated anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from training.cli.refusal import refuse

if TYPE_CHECKING:
    from training.recalibrate import Recalibrated


def command(
    decisions: Annotated[Path, typer.Option(help="Folder of the decision log (M3_DECISION_LOG).")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle to write; a bundle there is replaced.")],
    bundle: Annotated[
        Path | None, typer.Option(help="The bundle that decided. Default: the one shipped for m3-tiny.")
    ] = None,
    agreement: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Share of answers that are to say what the full scale says."),
    ] = 0.98,
) -> None:
    """Calibrate a bundle on watched answers, by their agreement with the full scale."""
    from router import embedded_bundle
    from router.bundle import Bundle
    from router.errors import M3Error
    from training.recalibrate import read_watched, recalibrate

    try:
        old = Bundle.load(embedded_bundle() if bundle is None else bundle)
        result = recalibrate(old, read_watched(decisions, old), agreement)
        result.bundle.write(out)
    except (ValueError, M3Error, OSError) as err:
        refuse(err)
    _tell(result, out)


def _tell(result: Recalibrated, out: Path) -> None:
    table = Table(title=f"Agreement with the full scale, predicted on {result.rows} watched requests")
    for heading in ("scale", "log loss before", "after, held out"):
        table.add_column(heading, justify="right")
    for scale, before, after in zip(result.bundle.ladder, result.before, result.after, strict=True):
        table.add_row(str(scale), f"{before:.4f}", f"{after:.4f}")
    console = Console()
    console.print(table)
    was, now = result.was, result.now
    console.print(
        f"As it was: {was.tokens:.1f} visual tokens, {was.agreement:.3f} agree. At the new default price: "
        f"{now.tokens:.1f} tokens, {now.agreement:.3f} agree (on the rows that it was chosen on).\n"
        f"Bundle {result.bundle.version} at {out}; certificates are not taken over.",
        soft_wrap=True,
    )
