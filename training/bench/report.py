"""The tables of a run: the terminal and docs/results show the same ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from training.bench import cold
from training.bench.provenance import last_line
from training.bench.results import Results
from training.bench.timing import Turns
from training.report.markdown import sheet
from training.report.tables import Sheet, Value

NAME = "backbone-bench"


def sheets(results: Results) -> list[Sheet]:
    """One sheet per measurement, and one of the scales' costs."""
    return [_requests(results), _scales(results), _batches(results), _labelling(results)]


def write(results: Results, out: Path) -> tuple[Path, Path]:
    """``backbone-bench.md`` and ``.json`` in the folder ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    text, data = out / f"{NAME}.md", out / f"{NAME}.json"
    text.write_text(markdown(results), encoding="utf-8")
    data.write_text(json.dumps(results.json(), indent=1) + "\n", encoding="utf-8")
    return text, data


def markdown(results: Results) -> str:
    parts = [
        "# The backbone against the reference's way",
        "The reference's way: encode, pool, transformers' `generate` with its KV cache, one request at a "
        "time, a full pass for every scale and question. Both ways share process, weights, threads, dtype, "
        "attention kernel, preprocessing and tokenisation; they took turns and gave the same answers. Times "
        "are medians; `x` is how many times faster ours was: the ratio of the medians, with the quartiles of "
        "the ratios of neighbouring turns.",
    ]
    parts += [sheet(each) for each in sheets(results)]
    parts += [
        _notes(results),
        last_line(results.provenance),
    ]
    return "\n\n".join(parts) + "\n"


def for_terminal(of: Sheet) -> Table:
    table = Table(title=of.caption, title_justify="left")
    for place, heading in enumerate(of.head):
        table.add_column(heading, justify="right" if place else "left")
    for row in of.rows:
        table.add_row(*map(str, row))
    return table


def _notes(results: Results) -> str:
    lines = []
    for each in results.waiting:
        lines.append(
            f"- Waiting requests, {each.answers}: {each.padding.waste:.1%} of attention's slots were "
            f"padding, none of the linear layers'; peak memory {_peaks(each.peaks)}. At the "
            f"{results.matmul_flops_per_s / 1e9:.0f} GFLOP/s of bare matrix products, {each.flops / 1e9:.1f} "
            f"GFLOP would be {results.limit(each):.2f} x the reference: about the limit of this device. "
            f"Encoding the pictures took {results.encoding_share(each):.0%} of our time."
        )
    b = results.labelling
    parts = ", ".join(f"{part} {share:.1%}" for part, share in b.parts.items())
    lines.append(
        f"- Labelling spent {b.share:.1%} of its time inside the model ({parts}); "
        f"{sum(b.drawing.values()):.1%} in a run of its own in which a second process draws the pictures, "
        f"its start included. Peak memory {_peaks(b.peaks)}."
    )
    ties = results.cold.ties + b.ties + sum(each.ties for each in results.waiting)
    if ties:
        lines.append(
            f"- In {ties} answers two tokens were within rounding of each other, and the ways differed there."
        )
    return "\n".join(lines)


def _peaks(peaks: tuple[int | None, int | None]) -> str:
    ours, reference = (f"{size / 2**20:.0f} MiB" if size else "unknown" for size in peaks)
    return f"{ours} (reference {reference})"


def _requests(results: Results) -> Sheet:
    c = results.cold
    rows = [(str(scale), f"{c.visual_tokens[scale]:.0f}", *_compared(of)) for scale, of in c.turns.items()]
    rows.append(("encoding alone", "", *_compared(c.encoding)))
    return _sheet(
        f"(a) One cold request, {cold.NEW_TOKENS} new tokens",
        ("scale", "visual tokens", "ours, ms", "reference, ms", "x"),
        rows,
    )


def _scales(results: Results) -> Sheet:
    of = results.cold.json()["scales"]
    keys = ("cost_predicted", "cost_ours", "cost_reference")
    return _sheet(
        "Cost of a scale as a share of the full scale's, in (a)",
        ("scale", "FLOPs, predicted", "time, ours", "time, reference"),
        [(scale, *(f"{row[key]:.3f}" for key in keys)) for scale, row in of.items()],
    )


def _batches(results: Results) -> Sheet:
    rows = []
    for each in results.waiting:
        for way, turns in (("engine", each.engine), ("one call", each.model)):
            speeds = (f"{each.new_tokens / s:.1f}" for s in (turns.ours_s, turns.reference_s))
            rows.append((f"{way}, {each.answers}", *_compared(turns), *speeds))
    return _sheet(
        f"(c) {results.waiting[0].requests} waiting requests of mixed scales, all about new pictures",
        ("ours through, answers", "ours, ms", "reference, ms", "x", "ours, new tokens/s", "reference"),
        rows,
    )


def _labelling(results: Results) -> Sheet:
    b = results.labelling
    answers = b.pairs * len(results.cold.turns)
    speeds = (f"{answers / s:.1f}" for s in (b.turns.ours_s, b.turns.reference_s))
    return _sheet(
        "(b) Labelling at every scale",
        ("pairs / pictures", "ours, ms", "reference, ms", "x", "ours, answers/s", "reference"),
        [(f"{b.pairs} / {b.pictures}", *_compared(b.turns), *speeds)],
    )


def _compared(turns: Turns) -> tuple[str, str, str]:
    low, high = turns.spread
    return (
        f"{1e3 * turns.ours_s:.1f}",
        f"{1e3 * turns.reference_s:.1f}",
        f"{turns.ratio:.2f} ({low:.2f} to {high:.2f})",
    )


def _sheet(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Sheet:
    return Sheet(caption, tuple(head), tuple(tuple(Value(cell) for cell in row) for row in rows))
