"""ChartQA: ``chartqa:test`` (or train, val), or one file ``test_human.json`` or ``test_augmented.json``.

Format: github.com/vis-nlp/ChartQA, "ChartQA Dataset/SPLIT/SPLIT_human.json": a list of imgname, query,
label; charts in ``png/`` beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.records import Sample
from data.sources.files import ImageFile, json_rows, locate
from data.sources.prompts import asked
from data.sources.skipped import Skipped

PROMPT = "single_word"

_PARTS = ("human", "augmented")


def read(where: str, data_dir: Path | None, skipped: Skipped) -> Iterator[Sample]:
    if Path(where).is_file():
        paths = [Path(where)]
    else:
        folder = f"ChartQA Dataset/{where}"
        paths = [
            locate(where, data_dir, "chartqa", f"{folder}/{where}_{part}.json", "github.com/vis-nlp/ChartQA")
            for part in _PARTS
        ]
    for path in paths:
        split, _, part = path.stem.rpartition("_")
        for number, row in enumerate(json_rows(path)):
            image = row.text("imgname")
            yield Sample(
                sample_id=f"chartqa/{split}/{part}/{number}",
                image_id=f"chartqa/{image}",
                open_image=ImageFile(path.parent / "png" / image),
                question=asked(PROMPT, row.text("query")),
                answers=row.texts("label"),
                metric="chartqa_relaxed",
                dataset="chartqa",
                split=split,
                family=part,
                prompt=PROMPT,
            )
