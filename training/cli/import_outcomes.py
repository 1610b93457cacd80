"""``m3-train import``: answers that another program recorded -> an outcome table.

A file with all budgets of a question in one row, scales being shares of 576 tokens::

    m3-train import --layout wide --file outcomes.jsonl --full-tokens 576 --metric textvqa_m4c \\
        --model llava-1.5-7b --dataset textvqa --split val --out runs/textvqa
    m3-train report --outcomes runs/textvqa --bundle none --out runs/textvqa-report

Sample logs of lmms-eval, one per scale: ``--layout lmms --file 36=a.jsonl --file 576=b.jsonl``.

Answer files of LLaVA's evaluation, one per scale, which have no references; those come from the data set::

    m3-train import --layout llava --file 36=answers/36.jsonl --file 576=answers/576.jsonl \\
        --references textvqa:TextVQA_0.5.1_val.json --model llava-v1.5-7b-m3 --out runs/textvqa
    m3-train import --layout llava --file 36=answers/36.jsonl --file 576=answers/576.jsonl \\
        --references pope:coco_pope_random.json --questions llava_pope_test.jsonl --category random \\
        --model llava-v1.5-7b-m3 --out runs/pope-random
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.cli.refusal import refuse


def command(
    out: Annotated[Path, typer.Option(help="Folder of the table; a table there is replaced.")],
    model: Annotated[str, typer.Option(help="What answered. Tables of one model may be joined.")],
    file: Annotated[
        list[str],
        typer.Option(help="A file, or SCALE=FILE where its rows do not name their scale. May be repeated."),
    ],
    metric: Annotated[
        str | None,
        typer.Option(
            help="The data set's metric; scores that are missing are computed.",
            show_default="that of --references",
        ),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(
            help="rows: a row per sample and scale; wide: a row per sample; lmms: sample logs; llava: answer "
            "files."
        ),
    ] = "rows",
    references: Annotated[
        str | None,
        typer.Option(help="Data set with the references, where the files have none: textvqa:FILE, ..."),
    ] = None,
    questions: Annotated[
        Path | None, typer.Option(help="LLaVA's question file, where its ids are not the data set's (POPE).")
    ] = None,
    category: Annotated[
        str, typer.Option(help="Import this category of the question file alone.", show_default="all")
    ] = "",
    data_dir: Annotated[
        Path | None,
        typer.Option(envvar="M3_DATA_DIR", help="Folder of the data sets that are named by split."),
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(help="FIELD=PATH where the file has it elsewhere: answer=resps.0.0, score=acc."),
    ] = None,
    full_tokens: Annotated[
        int | None, typer.Option(min=1, help="Scales in the file are shares of so many tokens.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Name of the data set.", show_default="that of --references, or imported"),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Its split.", show_default="that of --references, or imported")
    ] = None,
    prompt: Annotated[str, typer.Option(help="Name of the conversation template.")] = "unknown",
    fingerprint: Annotated[
        str,
        typer.Option(
            help="Of the checkpoint that answered, as `m3-router doctor` gives it: routers fitted on the "
            "table can then serve it."
        ),
    ] = "",
) -> None:
    """Make an outcome table of what another program answered, one scale or budget after the other."""
    from dataclasses import fields, replace

    from data.records import write_outcomes
    from data.scoring import metric as known_metric
    from data.sources import SourceError, load
    from data.unreadable import write_unreadable
    from training.cli.summary import summary
    from training.importing.layout import LAYOUTS, Layout
    from training.importing.references import References
    from training.importing.rows import read_answers
    from training.importing.table import Origin, build_table

    try:
        if metric is None and references is None:
            raise SourceError("The metric is not known: give --metric, or --references.")
        if metric is not None:
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
        known = None
        if references is not None:
            samples = list(load(references, data_dir))
            known = References.of(samples, questions, category)
            metric = metric or _one({sample.metric for sample in samples}, "metric")
            dataset = dataset or _one({sample.dataset for sample in samples}, "dataset")
            split = split or _one({sample.split for sample in samples}, "split")
        answers = (
            answer
            for scale, path in files
            for answer in read_answers(path, chosen, scale=scale, full_tokens=full_tokens, known=known)
        )
        assert metric is not None
        origin = Origin(model, dataset or "imported", metric, split or "imported", prompt, fingerprint)
        table = build_table(answers, origin, [path for _, path in files])
        if known is not None:
            table = replace(table, manifest={**table.manifest, "unanswered": known.total - len(known.found)})
        write_outcomes(out, table)
        write_unreadable(out, (), {})  # of a table that was there before
    except (
        ValueError,
        OSError,
    ) as error:  # SourceError, RecordError, ScoringError: the message has the remedy
        refuse(error)
    Console().print(summary(table, out))
    if table.manifest.get("unanswered"):
        Console().print(
            f"{table.manifest['unanswered']} samples of {references} have no answer in the files."
        )


def _file(text: str) -> tuple[int | None, Path]:
    """ "36=a.jsonl" -> (36, a.jsonl); anything else is a path."""
    scale, equals, path = text.partition("=")
    if equals and scale.isascii() and scale.isdecimal() and int(scale) > 0 and not Path(text).exists():
        return int(scale), Path(path)
    return None, Path(text)


def _one(values: set[str], option: str) -> str:
    """The only value of all samples. Raises `SourceError` asking for the option where they differ."""
    from data.sources import SourceError

    if len(values) != 1:
        found = ", ".join(sorted(values)) or "none"
        raise SourceError(f"The data set does not have one {option} ({found}): give --{option}.")
    return next(iter(values))
