"""The comparison as a page: ``one-scale.md``, its picture ``one-scale.svg``, and ``one-scale.json``."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data.files import write_bytes
from training.one_scale.comparison import Row, Value
from training.one_scale.models import FULL
from training.report.markdown import sheet
from training.report.palette import THEMES
from training.report.svg import canvas, clear_legend
from training.report.tables import Sheet
from training.report.tables import Value as Cell

HEAD = ("scale", "M3", "this scale alone", f"{FULL} alone, pooled", "M3 − alone", "M3 − pooled")
_LINES = (
    ("m3", "M3: one model for all scales", "router", "o"),
    ("alone", "a model per scale", "lookup", "s"),
    ("pooled", f"trained at {FULL}, pooled without training", "fixed", "^"),
)


def write_page(rows: Sequence[Row], out: Path, provenance: Mapping[str, Any]) -> tuple[Path, ...]:
    """Writes the three files into ``out``; returns their paths.

    provenance: plain JSON, with ``command``, ``commit``, ``dataset``, ``questions``, ``images``, ``minutes``
    and ``steps`` (name of a model -> updates).
    """
    content = {"rows": [asdict(row) for row in rows], "provenance": dict(provenance)}
    files = {
        "one-scale.md": markdown(rows, provenance).encode(),
        "one-scale.svg": picture(rows),
        "one-scale.json": (json.dumps(content, indent=1, allow_nan=False) + "\n").encode(),
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_bytes(out / name, data)
    return tuple(out / name for name in files)


def markdown(rows: Sequence[Row], provenance: Mapping[str, Any]) -> str:
    steps = ", ".join(f"{name} {count:,}" for name, count in provenance["steps"].items())
    parts = [
        "# One model for all scales, or one for each",
        f"**{verdict(rows)}**",
        "The M3 paper's own comparison at this size. All models have the same tower, features and pictures; "
        "projector and language model begin with nothing and are trained for "
        f"{provenance['minutes']:g} minutes each, which is less than m3-tiny got: its own accuracies are in "
        "the report. *M3* takes a scale a step, all five alike; *this scale alone* takes one scale only; "
        f"*{FULL} alone, pooled* is the model of the full scale with its tokens averaged to fewer at "
        "inference, which nothing has trained it for.",
        sheet(_sheet(rows, provenance)),
        "![Accuracy at every scale of the three](one-scale.svg)",
        f"Updates: {steps}. A step at a small scale is shorter, so the same minutes hold more of them.",
        f"Made by `{provenance['command']}` at commit `{provenance['commit'] or 'unknown'}`.",
    ]
    return "\n\n".join(parts) + "\n"


def verdict(rows: Sequence[Row]) -> str:
    """One sentence: at how many scales M3 is better and worse than the others, beyond noise."""

    def counted(values: list[Value], other: str) -> str:
        better, worse = sum(v.low > 0 for v in values), sum(v.high < 0 for v in values)
        even = len(values) - better - worse
        return (
            f"{other}: better at {better} of {len(values)} scales, worse at {worse}, within noise at {even}"
        )

    alone = counted([row.gain for row in rows], "M3 against a model per scale")
    pooled = counted(
        [row.over_pooling for row in rows if row.scale != FULL], "against pooling without training"
    )
    return f"{alone}; {pooled}."


def picture(rows: Sequence[Row]) -> bytes:
    """SVG: a line for each of the three, with 95% intervals."""
    import matplotlib as mpl

    colours = THEMES["light"]
    scales = [row.scale for row in rows]
    with canvas(colours) as (figure, axes):
        for name, label, colour, marker in _LINES:
            values = [getattr(row, name) for row in rows]
            means = [v.mean for v in values]
            ends = [[v.mean - v.low for v in values], [v.high - v.mean for v in values]]
            style = {"color": colours[colour], "marker": marker, "markersize": 4, "capsize": 2}
            axes.errorbar(scales, means, yerr=ends, label=label, **style)
        axes.set_xscale("log")
        axes.set_xticks(scales, [str(scale) for scale in scales])
        axes.minorticks_off()
        axes.set_xlabel("visual tokens")
        axes.set_ylabel("accuracy")
        axes.grid(axis="y", linewidth=0.5)
        axes.legend(loc="lower right")
        clear_legend(axes)
        buffer = io.BytesIO()
        with mpl.rc_context({"svg.hashsalt": "one-scale"}):  # the same bytes for the same figures
            figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _sheet(rows: Sequence[Row], provenance: Mapping[str, Any]) -> Sheet:
    caption = (
        f"Accuracy on {provenance['questions']:,} questions about {provenance['images']:,} pictures of "
        f"{provenance['dataset']}, 95% intervals by image; differences are paired"
    )
    return Sheet(caption, HEAD, tuple(tuple(Cell(cell) for cell in _cells(row)) for row in rows))


def _cells(row: Row) -> tuple[str, ...]:
    shares = [
        f"{_percent(v.mean)} ({_percent(v.low)} to {_percent(v.high)})"
        for v in (row.m3, row.alone, row.pooled)
    ]
    signed = [
        f"{_signed(v.mean)} ({_signed(v.low)} to {_signed(v.high)})" for v in (row.gain, row.over_pooling)
    ]
    return (str(row.scale), *shares, *signed)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")
