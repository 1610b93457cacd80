"""VizWiz-VQA: ``vizwiz:val`` (or train), or the file ``Annotations/val.json``.

Format: vizwiz.org/tasks-and-datasets/vqa: a list of image, question, answers (ten of answer,
answer_confidence), answer_type, answerable; images are in ``val/`` beside ``Annotations/``, or beside the
file where it is in no such folder. One question an image. Written from that description and tried on made
examples only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.records import Sample
from data.sources.files import ImageFile, identified, json_rows, listed, locate
from data.sources.prompts import asked
from data.sources.skipped import Skipped

PROMPT = "vizwiz"


def read(where: str, data_dir: Path | None, skipped: Skipped) -> Iterator[Sample]:
    path = locate(where, data_dir, "vizwiz", f"Annotations/{where}.json", "vizwiz.org/tasks-and-datasets/vqa")
    home = path.parent.parent if path.parent.name == "Annotations" else path.parent
    for sample_id, row in identified(json_rows(path), "vizwiz", "image", skipped):
        image = row.text("image")
        yield Sample(
            sample_id=sample_id,
            image_id=f"vizwiz/{image}",
            open_image=ImageFile(home / path.stem / image),
            question=asked(PROMPT, row.text("question")),
            answers=tuple(answer.text("answer") for answer in listed(row, "answers")),
            metric="vizwiz_lmms",
            dataset="vizwiz",
            split=path.stem,
            family=row.text("answer_type") if row.values.get("answer_type") else "",
            prompt=PROMPT,
        )
