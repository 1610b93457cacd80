"""TextVQA: ``textvqa:val`` (or train), or the file ``TextVQA_0.5.1_val.json``.

Format: textvqa.org/dataset: ``data`` is a list of question_id, question, image_id, answers (ten); images
``IMAGE_ID.jpg`` in ``train_images/`` beside the file (validation uses them too).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.records import Sample
from data.sources.files import ImageFile, identified, json_rows, locate
from data.sources.prompts import SHORT_ANSWER, asked
from data.sources.skipped import Skipped


def read(where: str, data_dir: Path | None, skipped: Skipped) -> Iterator[Sample]:
    path = locate(where, data_dir, "textvqa", f"TextVQA_0.5.1_{where}.json", "textvqa.org/dataset")
    split = path.stem.rpartition("_")[2]
    for sample_id, row in identified(json_rows(path, "data"), "textvqa", "question_id", skipped):
        image = row.text("image_id")
        yield Sample(
            sample_id=sample_id,
            image_id=f"textvqa/{image}",
            open_image=ImageFile(path.parent / "train_images" / f"{image}.jpg"),
            question=asked(SHORT_ANSWER, row.text("question")),
            answers=row.texts("answers"),
            metric="textvqa_m4c",
            dataset="textvqa",
            split=split,
            family=row.first("image_classes"),
            prompt=SHORT_ANSWER,
        )
