"""MMMU: ``mmmu:validation`` (or dev), a folder of its Parquet files, or one of them.

Format: huggingface.co/datasets/MMMU/MMMU: a folder per subject with
``validation-00000-of-00001.parquet``; columns id (``validation_Art_1``), question, options (a Python
list, as text), answer (a letter), question_type, image_1 to image_7 (struct of bytes and path),
topic_difficulty. ``<image 1>`` in question or options says which is meant. Open questions, whose official
scoring is not among the metrics, and questions about several images are left out and counted. Written
from that description and tried on made examples only. The test split has no answers.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from data.records import Sample
from data.sources.files import Row, SourceError
from data.sources.options import references
from data.sources.parquet import parquet_rows
from data.sources.prompts import asked
from data.sources.skipped import Skipped

PROMPT = "mmmu"
_HOME = "huggingface.co/datasets/MMMU/MMMU"
_IMAGES = tuple(f"image_{number}" for number in range(1, 8))
_NEEDED = ("id", "question", "options", "answer", "question_type", "image_1")


def read(where: str, data_dir: Path | None, skipped: Skipped) -> Iterator[Sample]:
    seen: dict[str, int] = {}
    for path in _paths(where, data_dir):
        for row in parquet_rows(path, _NEEDED, _IMAGES):
            if row.text("question_type") != "multiple-choice":
                skipped.add("an open question", row.where)
                continue
            choices = _options(row)
            text = "\n".join((row.text("question"), *choices))
            images = sorted(set(re.findall(r"<image ([1-7])>", text))) or ["1"]
            if len(images) > 1:
                skipped.add("several images", row.where)
                continue
            name = row.text("id")
            if skipped.repeats(seen, f"mmmu/{name}", row.where):
                continue
            source = row.values.get(f"image_{images[0]}")
            if source is None:
                raise SourceError(f"{row.where} has no image_{images[0]}, which its question names.")
            split, _, rest = name.partition("_")
            yield Sample(
                sample_id=f"mmmu/{name}",
                image_id=f"mmmu/{name}",
                open_image=source,
                question=asked(PROMPT, row.text("question"), choices),
                answers=references(row, "answer", choices),
                metric="mmmu_parse_mc",
                dataset="mmmu",
                split=split,
                family=rest.rpartition("_")[0],
                kind=row.text("topic_difficulty") if row.values.get("topic_difficulty") else "",
                prompt=PROMPT,
            )


def _paths(where: str, data_dir: Path | None) -> list[Path]:
    if Path(where).is_file():
        return [Path(where)]
    if Path(where).is_dir():
        found = sorted(Path(where).rglob("*.parquet"))
        expected = f"{where} with .parquet files in it"
    elif data_dir is None:
        raise SourceError(
            f"mmmu: {where!r} is neither a file nor a folder. Give one, or set M3_DATA_DIR to the folder "
            f"that has mmmu/SUBJECT/{where}-*.parquet (from {_HOME})."
        )
    else:
        found = sorted((data_dir / "mmmu").glob(f"*/{where}-*.parquet"))
        expected = f"{data_dir / 'mmmu' / 'SUBJECT'}/{where}-*.parquet"
    if not found:
        raise SourceError(f"mmmu: {expected} is missing. It comes from {_HOME}.")
    return found


def _options(row: Row) -> tuple[str, ...]:
    """The choices, which are a Python list written as text (or a list)."""
    value = row.values.get("options")
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            raise SourceError(f"{row.where}: options is {value!r}, not a list.") from None
    return Row({"options": value}, row.where).texts("options")
