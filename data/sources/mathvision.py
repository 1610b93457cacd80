"""MATH-Vision: ``mathvision:testmini`` (or test), or the file ``data/testmini.jsonl``.

Format: github.com/mathllm/MATH-V: JSON lines of id, question (``<image1>`` where the picture belongs),
options, answer (a letter where there are options), image ("images/4.jpg", relative to the folder above
``data/``), level, subject. Asked for the answer alone and scored by it: the official evaluation asks for
a worked solution with the answer in a box, which is another task.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from data.records import Sample
from data.sources.files import ImageFile, identified, jsonl_rows, locate
from data.sources.options import references
from data.sources.prompts import OPTION_LETTER, SHORT_ANSWER, asked
from data.sources.skipped import Skipped


def read(where: str, data_dir: Path | None, skipped: Skipped) -> Iterator[Sample]:
    path = locate(where, data_dir, "mathvision", f"data/{where}.jsonl", "github.com/mathllm/MATH-V")
    home = path.parent.parent if path.parent.name == "data" else path.parent
    for sample_id, row in identified(jsonl_rows(path), "mathvision", "id", skipped):
        image = row.text("image")
        choices = row.texts("options") if row.values.get("options") else ()
        prompt = OPTION_LETTER if choices else SHORT_ANSWER
        question = re.sub(r"\s*<image[0-9]+>", "", row.text("question")).strip()
        yield Sample(
            sample_id=sample_id,
            image_id=f"mathvision/{image}",
            open_image=ImageFile(home / image),
            question=asked(prompt, question, choices),
            answers=references(row, "answer", choices) if choices else (row.text("answer"),),
            metric="mmmu_parse_mc" if choices else "answer_match",
            dataset="mathvision",
            split=path.stem,
            family=row.text("subject"),
            kind=f"level {row.text('level')}",
            prompt=prompt,
        )
