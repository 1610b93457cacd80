"""``m3-train merge``: the parts, or the scales, that several machines labelled -> one outcome table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.cli.refusal import refuse


def command(
    parts: Annotated[
        list[Path], typer.Argument(help="Folders made by `m3-train label --shard I/N` or `--scales`.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the whole table; a table there is replaced.")],
) -> None:
    """Merge the parts of a table, of which none may be missing; or tables of some scales of one data set.

    Where both were divided, the parts of each choice of scales first.
    """
    from training.cli.summary import summary
    from training.parts import merge

    try:
        table = merge(parts, out)
    except (ValueError, OSError) as error:  # RecordError is a ValueError: the message has the remedy
        refuse(error)
    Console().print(summary(table, out))
