"""MMBench: ``mmbench:DEV_EN`` (the file ``MMBench_DEV_EN.tsv``), or a file such as
``mmbench_dev_20230712.tsv``.

Format: github.com/open-compass/MMBench: tab-separated with index, question, hint, A to D, answer (a
letter), category, l2-category, image (base64; in files for circular evaluation also the index of another
row). Written from that description and tried on made examples only. Each row counts by itself: circular
evaluation, where all turns of a question must be right, is not done here. The test split has no answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.records import Sample
from data.sources.files import Row, SourceError, locate
from data.sources.options import references
from data.sources.prompts import asked
from data.sources.skipped import Skipped
from data.sources.tsv import TsvImage, tsv_rows

_TURN = 1_000_000
"""Circular evaluation adds this to the index of each further turn of a question."""

_INDEX = 20
"""A cell that is shorter and a number is the index of the row that has the picture."""


def read(where: str, data_dir: Path | None, skipped: Skipped) -> Iterator[Sample]:
    path = locate(where, data_dir, "mmbench", f"MMBench_{where}.tsv", "github.com/open-compass/MMBench")
    offsets: dict[str, int] = {}
    seen: dict[str, int] = {}
    for offset, row in tsv_rows(path, ("index", "image", "question", "answer", "A", "B")):
        index = row.text("index")
        if not index.isdecimal():
            raise SourceError(f"{row.where}: index is {index!r}, not a number.")
        cell = row.text("image")
        if len(cell) < _INDEX and cell.isdecimal():
            if cell not in offsets:
                raise SourceError(f"{row.where}: image is that of row {cell}, which is not above it.")
            offsets[index] = offsets[cell]
        else:
            offsets[index] = offset
        if skipped.repeats(seen, f"mmbench/{index}", row.where):
            continue
        choices, hint = _choices(row), _cell(row, "hint")
        prompt = "mmbench_hint" if hint else "mmbench"
        yield Sample(
            sample_id=f"mmbench/{index}",
            image_id=f"mmbench/{int(index) % _TURN}",
            open_image=TsvImage(path, offsets[index], list(row.values).index("image")),
            question=asked(prompt, row.text("question"), choices, hint),
            answers=references(row, "answer", choices),
            metric="mmbench_can_infer",
            dataset="mmbench",
            split=_cell(row, "split") or path.stem,
            family=_cell(row, "category"),
            kind=_cell(row, "l2-category") or _cell(row, "L2-category"),
            prompt=prompt,
        )


def _cell(row: Row, name: str) -> str:
    """A cell; empty also where pandas wrote that there is nothing."""
    text = str(row.values.get(name, ""))
    return "" if text == "nan" else text


def _choices(row: Row) -> tuple[str, ...]:
    cells = [_cell(row, letter) for letter in "ABCDE"]
    choices = tuple(cell for cell in cells if cell)
    if list(choices) != cells[: len(choices)]:
        raise SourceError(f"{row.where}: a choice is empty between others: {cells}.")
    return choices
