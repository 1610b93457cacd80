"""Inputs -> report.html, report.md and report.json in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from data.files import write_bytes
from m3_backbone.cost import Architecture
from training.evaluate import evaluate
from training.evaluation.pricing import price
from training.evaluation.results import FLOPS, FLOPS_7B, TOKENS
from training.report.analysis import Report, analyse
from training.report.certified import ASKED
from training.report.examples import Example, choose_examples, source_samples, with_pictures
from training.report.extending import with_cost
from training.report.inputs import Inputs, contenders
from training.report.markdown import markdown
from training.report.page import html_page
from training.report.paired import per_image
from training.report.peers import Peers
from training.report.rows import as_json
from training.report.timing import MS_7B, Times, paper_times

NO_PICTURES = "the data set that they come from is not on the machine that made this report."


def make_report(
    inputs: Inputs,
    provenance: Mapping[str, Any],
    *,
    draws: int = 1000,
    seed: int = 0,
    times: Times | None = None,
    peers: Peers | None = None,
) -> Report:
    """Evaluate and analyse. times: of a 7B model, left out the paper's. Raises `ValueError` for an empty
    table.

    BLAS runs in one thread: several wait for each other by spinning, which takes longer than one on a machine
    that does something else as well.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

    with threadpool_limits(limits=1, user_api="blas"):
        return _report(inputs, provenance, draws, seed, times, peers)


def _report(
    inputs: Inputs,
    provenance: Mapping[str, Any],
    draws: int,
    seed: int,
    times: Times | None,
    peers: Peers | None,
) -> Report:
    table, clock = inputs.table, times or paper_times()
    found = contenders(inputs)
    flops_7b = price(table, Architecture.llava_7b())
    evaluation = evaluate(
        table,
        found,
        flops_7b=flops_7b,
        tune=inputs.tune,
        replicates=inputs.replicates,
        draws=draws,
        seed=seed,
    )
    # What was asked for is told from a budget by its name.
    named = (replace(p, role=ASKED) if p.name == ASKED else p for p in evaluation.policies)
    evaluation = replace(evaluation, policies=tuple(named))
    ms = clock.request_ms(table)
    evaluation = with_cost(evaluation, table, MS_7B, ms)
    if inputs.router is not None and inputs.router.second_look is not None:
        from training.report.hybrid import with_hybrid

        costs = {
            TOKENS: table.visual_tokens.astype(np.float64),
            FLOPS: table.flops.astype(np.float64),
            FLOPS_7B: flops_7b.astype(np.float64),
            MS_7B: ms,
        }
        evaluation = with_hybrid(evaluation, inputs, costs, clock, found[0].charge)
    return analyse(inputs, evaluation, provenance, times=clock, peers=peers)


def write_report(
    report: Report, out: Path, *, examples: int = 9, data_dir: Path | None = None
) -> tuple[Path, ...]:
    """Write the three files into ``out`` (made where it is missing); returns their paths.

    data_dir: where the pictures of the examples are looked for, if they are not generated.
    """
    out.mkdir(parents=True, exist_ok=True)
    shown, missing = _pictures(report, choose_examples(report, examples, report.evaluation.seed), data_dir)
    contents = {
        "report.html": html_page(report, shown, missing),
        "report.md": markdown(report),
        "report.json": _json(report),
    }
    for name, content in contents.items():
        write_bytes(out / name, content.encode("utf-8", "replace"))
    return tuple(out / name for name in contents)


def _json(report: Report) -> str:
    """Indented, but for the long lists of sums per image, which have a line of their own at the end."""
    whole = json.dumps(as_json(report), indent=1, ensure_ascii=False, allow_nan=False)
    sums = json.dumps(per_image(report), ensure_ascii=False, allow_nan=False)
    return f'{whole.removesuffix("}").rstrip()},\n "per_image": {sums}\n}}\n'


def _pictures(report: Report, examples: list[Example], data_dir: Path | None) -> tuple[list[Example], str]:
    """The examples with their pictures, or without them and with the reason."""
    if not examples:
        return examples, ""
    try:
        shown = with_pictures(examples, report.inputs.table, source_samples(report.inputs.table, data_dir))
    except (ValueError, OSError, ImportError):
        # A report is made of outcomes; pictures are a courtesy, and their absence is said on the page.
        return examples, NO_PICTURES
    return shown, "" if any(example.picture for example in shown) else NO_PICTURES
