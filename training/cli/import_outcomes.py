"""``m3-train import``: answers that another program recorded -> an outcome table.

A file with all budgets of a question in one row, scales being shares of 576 tokens::

    m3-train import --layout wide --file outcomes.jsonl --full-tokens 576 --metric textvqa_m4c \\
        --model llava-1.5-7b --dataset textvqa --split val --out runs/textvqa
    m3-train report --outcomes runs/textvqa --bundle none --out runs/textvqa-report

Sample logs of lmms-eval, one per scale: ``--layout lmms --file 36=a.jsonl --file 576=b.jsonl``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def command(
    out: Annotated[Path, typer.Option(help="Folder of the table; a table there is replaced.")],
    model: Annotated[str, typer.Option(help="What answered. Tables of one model may be joined.")],
    file: Annotated[
        list[str],
        typer.Option(help="A file, or SCALE=FILE where its rows do not name their scale. May be repeated."),
    ],
    metric: Annotated[str, typer.Option(help="The data set's metric; scores that are missing are computed.")],
    layout: Annotated[
        str, typer.Option(help="rows: a row per sample and scale; wide: a row per sample; lmms: sample logs.")
    ] = "rows",
    at: Annotated[
        list[str] | None,
        typer.Option(help="FIELD=PATH where the file has it elsewhere: answer=resps.0.0, score=acc."),
    ] = None,
    full_tokens: Annotated[
        int | None, typer.Option(min=1, help="Scales in the file are shares of so many tokens.")
    ] = None,
    dataset: Annotated[str, typer.Option(help="Name of the data set.")] = "imported",
    split: Annotated[str, typer.Option(help="Its split.")] = "imported",
    prompt: Annotated[str, typer.Option(help="Name of the conversation template.")] = "unknown",
) -> None:
    """Make an outcome table of what another program answered, one scale or budget after the other."""
    from dataclasses import fields, replace

    from data.records import write_outcomes
    from data.scoring import metric as known_metric
    from data.sources import SourceError
    from training.cli.label import summary
    from training.importing.layout import LAYOUTS, Layout
    from training.importing.rows import read_answers
    from training.importing.table import Origin, build_table

    try:
        known_metric(metric)
        if layout not in LAYOUTS:
            raise SourceError(f"Layout {layout!r} is not known. Known: {', '.join(LAYOUTS)}.")
        chosen, names = LAYOUTS[layout], [f.name for f in fields(Layout)]
        for pair in at or ():
            name, equals, path = pair.partition("=")
            if not equals or name not in names:
                raise SourceError(f"--at {pair!r} is not FIELD=PATH with FIELD one of {', '.join(names)}.")
            chosen = replace(chosen, **{name: path})
        files = [_file(text) for text in file]
        answers = (
            answer
            for scale, path in files
            for answer in read_answers(path, chosen, scale=scale, full_tokens=full_tokens)
        )
        origin = Origin(model, dataset, metric, split, prompt)
        table = build_table(answers, origin, [path for _, path in files])
        write_outcomes(out, table)
    except (
        ValueError,
        OSError,
    ) as error:  # SourceError, RecordError, ScoringError: the message has the remedy
        Console(stderr=True).print(f"Error: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    Console().print(summary(table, out))


def _file(text: str) -> tuple[int | None, Path]:
    """ "36=a.jsonl" -> (36, a.jsonl); anything else is a path."""
    scale, equals, path = text.partition("=")
    if equals and scale.isascii() and scale.isdecimal() and int(scale) > 0 and not Path(text).exists():
        return int(scale), Path(path)
    return None, Path(text)
