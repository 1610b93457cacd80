"""POPE: ``pope:adversarial`` (or popular, random), or a file ``coco_pope_*.json``.

Format: github.com/RUCAIBox/POPE, output/coco: JSON lines with question_id, image, text, label; images are
COCO val2014, looked for in ``val2014/`` beside the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.records import Sample
from data.sources.files import ImageFile, SourceError, identified, jsonl_rows, locate
from data.sources.prompts import SHORT_ANSWER, asked
from data.sources.skipped import Skipped


def read(where: str, data_dir: Path | None, skipped: Skipped) -> Iterator[Sample]:
    path = locate(where, data_dir, "pope", f"coco_pope_{where}.json", "github.com/RUCAIBox/POPE")
    category = path.stem.removeprefix("coco_pope_")
    for sample_id, row in identified(jsonl_rows(path), f"pope/{category}", "question_id", skipped):
        label = row.text("label")
        if label not in ("yes", "no"):
            raise SourceError(f"{row.where}: label is {label!r}, not 'yes' or 'no'.")
        image = row.text("image")
        yield Sample(
            sample_id=sample_id,
            image_id=f"pope/{image}",
            open_image=ImageFile(path.parent / "val2014" / image),
            question=asked(SHORT_ANSWER, row.text("text")),
            answers=(label,),
            metric="pope_llava",
            dataset="pope",
            split="test",
            family=category,
            kind="existence",
            prompt=SHORT_ANSWER,
        )
