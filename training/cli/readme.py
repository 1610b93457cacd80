"""``m3-train readme``: report, outcome tables, bundle and m3-tiny itself -> the README's figures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.cli.refusal import refuse


def command(
    readme: Annotated[
        Path | None, typer.Option(help="File to write the figures into.", show_default="the project's")
    ] = None,
    examples: Annotated[
        bool, typer.Option(help="Run m3-tiny for the worked examples; else they stay as they are.")
    ] = True,
) -> None:
    """Write the figures of the README, each between its comments."""
    from data.files import write_bytes
    from router import M3Error
    from training.report import readme_figures
    from training.report.provenance import PROJECT
    from training.report.readme import blocks, filled

    start = time.monotonic()
    path = PROJECT / "README.md" if readme is None else readme
    try:
        before = path.read_text(encoding="utf-8")
        blocks(before)  # complains before the work
        figures = readme_figures.shipped()
        if examples:
            from training.report import readme_examples

            figures |= readme_examples.examples(PROJECT)
        after = filled(before, figures)
        if after != before:
            write_bytes(path, after.encode("utf-8"))
    except (ValueError, M3Error, OSError) as error:  # ReadmeError and RecordError are ValueErrors
        refuse(error)
    was, now = blocks(before), blocks(after)
    changed = [name for name in now if now[name] != was[name]]
    Console().print(
        f"{path.name}: {', '.join(changed) if changed else 'no figure'} changed "
        f"({time.monotonic() - start:.0f} s)",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
