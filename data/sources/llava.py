"""Question files of LLaVA's evaluation: ``llava:FILE``.

Format: github.com/haotian-liu/LLaVA, docs/Evaluation.md and llava/eval/model_vqa_loader.py: JSON lines of
question_id, image, text, and in some category. ``text`` is asked as it stands: it has its format
instruction already. The references, which those files do not have,
are looked for in each row under answers, answer or label (POPE's own files have that one). Images are
beside the file, or in one of `FOLDERS` there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.records import Sample
from data.sources.files import ImageFile, Row, SourceError, identified, jsonl_rows
from data.sources.generic import named_metric
from data.sources.prompts import AS_WRITTEN
from data.sources.skipped import Skipped

FOLDERS = ("", "images", "val2014", "test2015", "train_images", "test", "images/test", "SEED-Bench-image")
"""Where docs/Evaluation.md puts images, seen from the question file."""

_ANSWERS = ("answers", "answer", "label")


def read(where: str, data_dir: Path | None, skipped: Skipped) -> Iterator[Sample]:
    path, home = Path(where), None
    for sample_id, row in identified(jsonl_rows(path), path.stem, "question_id", skipped):
        image = row.text("image")
        home = home or _home(path.parent, image)
        yield Sample(
            sample_id=sample_id,
            image_id=f"{path.stem}/{image}",
            open_image=ImageFile(home / image),
            question=row.text("text"),
            answers=_answers(row),
            metric=named_metric(row),
            dataset=path.stem,
            split="",
            family=row.text("category") if row.values.get("category") else "",
            prompt=AS_WRITTEN,
        )


def _home(folder: Path, image: str) -> Path:
    """The folder that has the first image; the file's own where none has."""
    return next((folder / name for name in FOLDERS if (folder / name / image).is_file()), folder)


def _answers(row: Row) -> tuple[str, ...]:
    for name in _ANSWERS:
        if row.values.get(name) is not None:
            return row.texts(name)
    raise SourceError(
        f"{row.where} has no {', '.join(_ANSWERS)}: LLaVA's question files have no references. Add them to "
        "the rows, or read the data set's own file (textvqa:, pope:, ...)."
    )
