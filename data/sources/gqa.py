"""GQA: ``gqa:testdev`` (or val, train), or the file ``testdev_balanced_questions.json``.

Format: cs.stanford.edu/people/dorarad/gqa/download.html and evaluate.html: an object from question id to
question, imageId, answer (one word or phrase), types (structural, semantic, detailed); images are
``images/IMAGEID.jpg``. Written from that description and tried on made examples only. Not covered: the
unbalanced questions that come in several files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.records import Sample
from data.sources.files import ImageFile, Row, locate, named_rows
from data.sources.prompts import SHORT_ANSWER, asked
from data.sources.skipped import Skipped


def read(where: str, data_dir: Path | None, skipped: Skipped) -> Iterator[Sample]:
    home = "cs.stanford.edu/people/dorarad/gqa/download.html"
    path = locate(where, data_dir, "gqa", f"{where}_balanced_questions.json", home)
    for name, row in named_rows(path):
        image = row.text("imageId")
        yield Sample(
            sample_id=f"gqa/{name}",
            image_id=f"gqa/{image}",
            open_image=ImageFile(path.parent / "images" / f"{image}.jpg"),
            question=asked(SHORT_ANSWER, row.text("question")),
            answers=(row.text("answer"),),
            metric="exact_match_ci_nopunct",
            dataset="gqa",
            split=path.stem.partition("_")[0],
            family=_type(row, "structural"),
            kind=_type(row, "semantic"),
            prompt=SHORT_ANSWER,
        )


def _type(row: Row, name: str) -> str:
    types = row.values.get("types")
    return Row(types, row.where).text(name) if isinstance(types, dict) and types.get(name) else ""
