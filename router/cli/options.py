"""Options that several verbs share. None means: not given here, so the environment or the default counts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Backbone = Annotated[
    str | None,
    typer.Option(help="'tiny' (embedded) or an M3 checkpoint: a folder or a hub name.", show_default="tiny"),
]
BundleOption = Annotated[
    str | None,
    typer.Option(
        "--bundle",
        help="'embedded' (the router of m3-tiny), 'none' (always the full scale), or a folder.",
        show_default="embedded",
    ),
]
EngineOption = Annotated[
    str | None,
    typer.Option("--engine", help="'torch', or 'fake': no weights, made-up answers.", show_default="torch"),
]
Image = Annotated[Path, typer.Argument(help="A JPEG, PNG, WEBP or GIF file.", metavar="IMAGE")]
Question = Annotated[str, typer.Argument(help="What to ask about it.", metavar="QUESTION")]
Scale = Annotated[int | None, typer.Option(help="Force this scale instead of routing.")]
MinScale = Annotated[int | None, typer.Option(help="Never below this scale.")]
MaxTokens = Annotated[
    int | None, typer.Option("--max-visual-tokens", help="Never more visual tokens than this.")
]
Budget = Annotated[float | None, typer.Option("--token-budget", help="Mean visual tokens per request.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
