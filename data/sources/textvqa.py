"""TextVQA: ``textvqa:val`` (or train), or the file ``TextVQA_0.5.1_val.json``.

Format: textvqa.org/dataset: ``data`` is a list of question_id, question, image_id, answers (ten); images
``IMAGE_ID.jpg`` in ``train_images/`` beside the file (validation uses them too).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.records import Sample
from data.sources.files import SHORT_ANSWER, ImageFile, json_rows, locate, unique


def read(where: str, data_dir: Path | None = None) -> Iterator[Sample]:
    path = locate(where, data_dir, "textvqa", f"TextVQA_0.5.1_{where}.json", "textvqa.org/dataset")
    split = path.stem.rpartition("_")[2]
    seen: dict[str, int] = {}
    for row in json_rows(path, "data"):
        image = row.text("image_id")
        classes = row.values.get("image_classes")
        yield Sample(
            sample_id=unique(seen, f"textvqa/{row.text('question_id')}", row.where),
            image_id=f"textvqa/{image}",
            open_image=ImageFile(path.parent / "train_images" / f"{image}.jpg"),
            question=row.text("question") + SHORT_ANSWER,
            answers=row.texts("answers"),
            metric="textvqa_m4c",
            dataset="textvqa",
            split=split,
            family=str(classes[0]) if isinstance(classes, list) and classes else "",
        )
