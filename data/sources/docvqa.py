"""DocVQA, task 1: ``docvqa:val`` (or train), or the file ``val_v1.0.json``.

Format: rrc.cvc.uab.es (challenge 17): ``data`` is a list of questionId, question, image
("documents/NAME.png", relative to the file), answers, and in later files question_types.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.records import Sample
from data.sources.files import SHORT_ANSWER, ImageFile, identified, json_rows, locate


def read(where: str, data_dir: Path | None = None) -> Iterator[Sample]:
    path = locate(where, data_dir, "docvqa", f"{where}_v1.0.json", "rrc.cvc.uab.es, challenge 17")
    for sample_id, row in identified(json_rows(path, "data"), "docvqa", "questionId"):
        image = row.text("image")
        yield Sample(
            sample_id=sample_id,
            image_id=f"docvqa/{image}",
            open_image=ImageFile(path.parent / image),
            question=row.text("question") + SHORT_ANSWER,
            answers=row.texts("answers"),
            metric="anls_lmms",
            dataset="docvqa",
            split=path.stem.partition("_")[0],
            family=row.first("question_types"),
        )
