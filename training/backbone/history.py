"""How a checkpoint was trained, piece by piece: what its card tells, kept beside the weights.

A *piece* is one run: begun with nothing or with the weights of a checkpoint, whose own pieces then stand
before it. ``training.json`` is a list of pieces, the oldest first: ``{"start", "recipe", "tower", "language",
"exams"}`` with ``start`` the fingerprint of the weights that it began with or null, and rows of ``{"minutes",
"step", ...}`` from the run's metrics: of the tower its loss and the share of held-out patches that each head
names rightly, of the language model its loss, of its exams the accuracy at every scale (backbone-val,
teacher-forced). Minutes are those of training, of one stage of one piece. Where pieces before the first one
kept nothing, it has its ``"number"``: else they are counted from 1.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data.files import write_bytes
from training.backbone.recipe import SCALES, Recipe
from training.report.palette import THEMES, ramp
from training.report.svg import canvas

NAME = "training.json"
PICTURE = "training.svg"
BEFORE = "pieces-before.json"
"""In a run's folder: those of the checkpoint that it began with, as they were then."""
MOST_ROWS = 60
"""Of a stage: more are thinned out evenly, the last one stays."""

Piece = Mapping[str, Any]


def piece(metrics: Sequence[Mapping[str, Any]], recipe: Recipe) -> Piece:
    """Of a run with these rows of metrics.jsonl."""
    starts = [row["fingerprint"] for row in metrics if row["stage"] == "start"]
    told = {name: value for name, value in asdict(recipe).items() if name != "start"}  # that is a place here
    exams = _rows(metrics, "exam", "accuracy")
    for row in exams:
        row["accuracy"] = row["accuracy"]["all"]
    return {
        "start": starts[-1] if starts else None,
        "recipe": told,
        "tower": _rows(metrics, "tower", "loss", "accuracy"),
        "language": _rows(metrics, "language", "loss"),
        "exams": exams,
    }


def _rows(metrics: Sequence[Mapping[str, Any]], stage: str, *names: str) -> list[dict[str, Any]]:
    rows = [row for row in metrics if row["stage"] == stage]
    clocked = [row for row in metrics if row["stage"] in (stage, {"exam": "language"}.get(stage, stage))]
    found = [
        {
            "minutes": row.get("minutes", round((row["time"] - clocked[0]["time"]) / 60, 2)),
            "step": row["step"],
            **{name: row[name] for name in names},
        }
        for row in rows
    ]
    step = -(-len(found) // MOST_ROWS)
    return found[::-1][::step][::-1] if found else []


def read(folder: Path, name: str = NAME) -> list[Piece]:
    """The pieces of the checkpoint in ``folder``; none where it does not tell them."""
    try:
        pieces = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return pieces if isinstance(pieces, list) else []


def begin(run: Path, start: Path) -> None:
    """Keeps the pieces of the checkpoint in ``start``: an export may go over it."""
    if not (run / BEFORE).exists():
        write_bytes(run / BEFORE, (json.dumps(read(start), indent=1) + "\n").encode())


def write(folder: Path, pieces: Sequence[Piece]) -> None:
    """``training.json``, and the picture of it where there was an exam."""
    write_bytes(folder / NAME, (json.dumps(pieces, indent=1) + "\n").encode())
    if any(each["exams"] for each in pieces):
        write_bytes(folder / PICTURE, picture(pieces))


def markdown(pieces: Sequence[Piece]) -> list[str]:
    """Lines of a card: the pieces, and how accuracy rose."""
    lines = ["## Training", ""]
    if pieces[0]["start"]:
        lines += [
            f"How the weights that the first piece below began with ({pieces[0]['start'][:12]}) were "
            "trained is not told here.",
            "",
        ]
    lines += [
        "| piece | pictures | tower | language model | threads |",
        "|---|---|---|---|---|",
    ]
    numbered = list(enumerate(pieces, pieces[0].get("number", 1)))
    for number, each in numbered:
        recipe = each["recipe"]
        tower, language = _lasted(each["tower"]), _lasted([*each["language"], *each["exams"]])
        lines.append(f"| {number} | {recipe['images']:,} | {tower} | {language} | {recipe['threads']} |")
    lines.append("")
    exams = [(number, row) for number, each in numbered for row in each["exams"]]
    if exams:
        lines += [
            f"![Accuracy at each scale against minutes of training]({PICTURE})",
            "",
            "| piece | minutes of the language model | updates | " + " | ".join(map(str, SCALES)) + " |",
            "|---|---|---|" + "---|" * len(SCALES),
        ]
        for number, row in exams:
            values = " | ".join(f"{row['accuracy'][str(scale)]:.2f}" for scale in SCALES)
            lines.append(f"| {number} | {row['minutes']:.0f} | {row['step']:,} | {values} |")
        lines.append("")
    return lines


def _lasted(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "as before"
    last = max(rows, key=lambda row: row["step"])
    return f"{last['minutes']:.0f} minutes, {last['step']:,} updates"


def picture(pieces: Sequence[Piece]) -> bytes:
    """SVG: accuracy at every scale against the minutes of language-model training, all pieces in a row."""
    import matplotlib as mpl

    minutes: list[float] = []
    values: dict[int, list[float]] = {scale: [] for scale in SCALES}
    before, ends = 0.0, list[float]()
    for each in pieces:
        for row in each["exams"]:
            minutes.append(before + row["minutes"])
            for scale in SCALES:
                values[scale].append(row["accuracy"][str(scale)])
        before += max((row["minutes"] for row in (*each["language"], *each["exams"])), default=0.0)
        ends.append(before)
    colours = THEMES["light"]
    buffer = io.BytesIO()
    with canvas(colours) as (figure, axes):
        for scale, colour in zip(SCALES, ramp("light", len(SCALES)), strict=True):
            axes.plot(minutes, values[scale], "o-", color=colour, markersize=4, label=str(scale))
        for end in ends[:-1]:
            axes.axvline(end, color=colours["line"], linewidth=1)
        axes.set_xlabel("minutes of training the language model")
        axes.set_ylabel("accuracy, backbone-val")
        axes.grid(axis="y", linewidth=0.5)
        axes.legend(title="visual tokens", loc="lower right")
        with mpl.rc_context({"svg.hashsalt": "training"}):  # the same bytes for the same figures
            figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
