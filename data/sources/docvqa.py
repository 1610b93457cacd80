"""DocVQA, task 1: ``docvqa:val`` (or train), or the file ``val_v1.0.json``.

Format: rrc.cvc.uab.es (challenge 17): ``data`` is a list of questionId, question, image
("documents/NAME.png", relative to the file), answers, and in later files question_types.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.records import Sample
from data.sources.files import ImageFile, identified, json_rows, locate
from data.sources.prompts import SHORT_ANSWER, asked
from data.sources.skipped import Skipped


def read(where: str, data_dir: Path | None, skipped: Skipped) -> Iterator[Sample]:
    path = locate(where, data_dir, "docvqa", f"{where}_v1.0.json", "rrc.cvc.uab.es, challenge 17")
    for sample_id, row in identified(json_rows(path, "data"), "docvqa", "questionId", skipped):
        image = row.text("image")
        yield Sample(
            sample_id=sample_id,
            image_id=f"docvqa/{image}",
            open_image=ImageFile(path.parent / image),
            question=asked(SHORT_ANSWER, row.text("question")),
            answers=row.texts("answers"),
            metric="anls_lmms",
            dataset="docvqa",
            split=path.stem.partition("_")[0],
            family=row.first("question_types"),
            prompt=SHORT_ANSWER,
        )
