"""Anyone's data: JSON lines or CSV with image, question, answers, and if wanted id, group, metric.

image: path, relative to the file's folder. question: asked exactly as it stands. answers: a list, or one
text; in CSV a JSON list or one text. group: becomes the family in reports. metric: a name in
`data.scoring.METRICS`, default ``answer_match``. id: without
one, samples are called #1, #2, ...
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from data.records import Sample
from data.scoring import METRICS
from data.sources.files import ImageFile, Row, SourceError, csv_rows, jsonl_rows, unique

DEFAULT_METRIC = "answer_match"


def read_jsonl(where: str, data_dir: Path | None = None) -> Iterator[Sample]:
    path = Path(where)
    return _samples(path, jsonl_rows(path))


def read_csv(where: str, data_dir: Path | None = None) -> Iterator[Sample]:
    path = Path(where)
    return _samples(path, _csv_rows(path))


def _csv_rows(path: Path) -> Iterator[Row]:
    for row in csv_rows(path, needed=("image", "question", "answers")):
        answers = _csv_answers(row.values["answers"], row.where)
        yield Row({**row.values, "answers": answers}, row.where)


def _csv_answers(text: str, where: str) -> object:
    if not text.lstrip().startswith("["):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise SourceError(f"{where}: answers starts like a JSON list but is none: {text!r}.") from None


def _samples(path: Path, rows: Iterable[Row]) -> Iterator[Sample]:
    seen: dict[str, int] = {}
    for number, row in enumerate(rows):
        image = row.text("image")
        if not image.strip():
            raise SourceError(f"{row.where}: image is empty.")
        metric = row.text("metric") if row.values.get("metric") else DEFAULT_METRIC
        if metric not in METRICS:
            raise SourceError(
                f"{row.where}: metric {metric!r} is not known. Known: {', '.join(sorted(METRICS))}."
            )
        question = row.text("question")
        if not question.strip():
            raise SourceError(f"{row.where}: the question is empty.")
        name = row.text("id") if row.values.get("id") not in (None, "") else f"#{number + 1}"
        yield Sample(
            sample_id=unique(seen, f"{path.stem}/{name}", row.where),
            image_id=f"{path.stem}/{image}",
            open_image=ImageFile(path.parent / image),
            question=question,
            answers=row.texts("answers"),
            metric=metric,
            dataset=path.stem,
            split="",
            family=row.text("group") if row.values.get("group") else "",
        )
