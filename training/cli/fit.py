"""``m3-train fit``: outcome tables -> a bundle, in a minute or two and without a model."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from training.cli.refusal import refuse

if TYPE_CHECKING:
    from data.records import OutcomeTable
    from training.fit import FitResult


HARDLY = 0.1
"""Below this mean score of the best scale there is nothing to route."""

FEW = 100
"""Fewer images than this in a split are told of: the README asks for some hundreds in all, at least."""


def command(
    out: Annotated[Path, typer.Option(help="Folder of the bundle to write; a bundle there is replaced.")],
    outcomes: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the tables router-train and tune. Default: those shipped for m3-tiny."
        ),
    ] = None,
    candidate: Annotated[
        str,
        typer.Option(
            help="Kind of predictor; those that make bundles: lightgbm_per_scale, lightgbm_embeddings, "
            "lightgbm_shared, lightgbm_joint, lightgbm_monotone, attention, attention_fine, ensemble, "
            "question_only, question_text, image_only."
        ),
    ] = "lightgbm_per_scale",
    tolerance: Annotated[
        float, typer.Option(min=0.0, max=0.99, help="Score below the best that is still sufficient.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="The same tables and seed give the same bundle.")] = 0,
    escalation: Annotated[
        bool, typer.Option("--escalation", help="Fit the second look too, which cascades need.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="Fits that run side by side, one thread each.")] = 2,
) -> None:
    """Fit a router on router-train, calibrate it on tune, and write its bundle."""
    from data.reading import SHIPPED_OUTCOMES
    from router.errors import M3Error
    from training.candidates import candidates
    from training.candidates.base import by_name
    from training.fit import fit, outcomes_hash, read_tables

    start = time.monotonic()
    console = Console(stderr=True, highlight=False)
    folder = SHIPPED_OUTCOMES if outcomes is None else outcomes
    try:
        chosen = by_name(candidate, candidates())
    except ValueError as err:
        raise typer.BadParameter(str(err), param_hint="--candidate") from err
    try:
        train, tune = read_tables(folder)
        _warn_of_few(console, train, tune)
        hashes = {split: outcomes_hash(folder / split) for split in ("router-train", "tune")}
        with _progress(console, start):
            result = fit(
                train,
                tune,
                chosen,
                tolerance=tolerance,
                seed=seed,
                threads=threads,
                escalation=escalation,
                provenance={"outcomes": hashes},
            )
        result.bundle.write(out)
    except (ValueError, M3Error, OSError) as err:  # RecordError is a ValueError; messages have the remedy
        refuse(err)
    _tell(result, out, time.monotonic() - start)


def _warn_of_few(console: Console, train: OutcomeTable, tune: OutcomeTable) -> None:
    n, m = len(train.image_ids), len(tune.image_ids)
    if min(n, m) < FEW:
        console.print(
            f"Few images: {n:,} in router-train, {m:,} in tune. What is fitted and calibrated on them "
            "may not hold for others. Some hundreds in all are the least to try this on, and the shipped "
            "router had 12,500 and 1,250 in these two: label more (README, How many images?).",
            soft_wrap=True,
        )


@contextmanager
def _progress(console: Console, start: float) -> Iterator[None]:
    """What is logged of the fit goes to ``console``, with the seconds since ``start``."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seconds = time.monotonic() - start
            console.print(f"{seconds:6.0f} s  {record.getMessage()}", markup=False, soft_wrap=True)

    logger, lines = logging.getLogger("training"), Lines()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(lines)
    try:
        yield
    finally:
        logger.removeHandler(lines)
        logger.setLevel(level)


def _tell(result: FitResult, out: Path, seconds: float) -> None:
    bundle = result.bundle
    table = Table(title=f"{bundle.candidate}, expected score at each scale, on tune")
    for heading in ("scale", "mean score", "log loss of the mean", "raw", "calibrated", "trees"):
        table.add_column(heading, justify="right")
    for row in result.scales:
        table.add_row(
            str(row.scale),
            f"{row.mean_score:.3f}",
            f"{row.chance_log_loss:.4f}",
            f"{row.raw_log_loss:.4f}",
            f"{row.log_loss:.4f}",
            "-" if row.trees is None else str(row.trees),
        )
    console = Console()
    console.print(table)
    console.print(
        f"Bundle {bundle.version} at {out}: {bundle.features.width} features, "
        f"ONNX {len(bundle.onnx) / 1e6:.2f} MB, "
        f"within {result.worst_parity:.1e} of what was fitted on every tune row and on edge values, "
        f"{seconds:.0f} s.",
        soft_wrap=True,
    )
    if (best := max(row.mean_score for row in result.scales)) < HARDLY:
        console.print(
            f"The best scale scores {best:.3f} on tune: this backbone gives hardly any of these answers, "
            "and no router changes that. It may know nothing of such pictures, or say it in words that "
            "the metric does not take: compare the table's answers with its references.",
            soft_wrap=True,
            highlight=False,
        )
    if (second := bundle.escalation) is not None:
        console.print(
            f"Second look: ONNX {len(second.onnx) / 1e6:.2f} MB, {second.optimism:g} times the price in the "
            f"first look, gains above {second.threshold:g}.",
            soft_wrap=True,
        )
