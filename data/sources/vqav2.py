"""VQAv2: ``vqav2:val`` (or train), or the file ``v2_OpenEnded_mscoco_val2014_questions.json``.

Format: visualqa.org/vqa_v2_teaser.html: questions are a list under ``questions`` of question_id,
image_id, question; beside it ``v2_mscoco_val2014_annotations.json`` has under ``annotations``
question_id, answers (ten of answer, answer_confidence, answer_id), answer_type, question_type; images are
``val2014/COCO_val2014_000000262148.jpg``. Written from that description and tried on made examples only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data.records import Sample
from data.sources.files import ImageFile, Row, SourceError, identified, json_rows, listed, locate
from data.sources.prompts import SHORT_ANSWER, asked
from data.sources.skipped import Skipped

_HOME = "visualqa.org/download.html"
_BEFORE, _AFTER = "v2_OpenEnded_mscoco_", "_questions"


def read(where: str, data_dir: Path | None, skipped: Skipped) -> Iterator[Sample]:
    subset = f"{where}2014" if where in ("train", "val") else where
    path = locate(where, data_dir, "vqav2", f"{_BEFORE}{subset}{_AFTER}.json", _HOME)
    subset = path.stem.removeprefix(_BEFORE).removesuffix(_AFTER)
    annotations = path.with_name(f"v2_mscoco_{subset}_annotations.json")
    if not annotations.is_file():
        raise SourceError(f"vqav2: {annotations} is missing: it has the answers. It comes from {_HOME}.")
    known = {row.text("question_id"): _Note.of(row) for row in json_rows(annotations, "annotations")}
    for sample_id, row in identified(json_rows(path, "questions"), "vqav2", "question_id", skipped):
        number = row.text("image_id")
        if not number.isdecimal():
            raise SourceError(f"{row.where}: image_id is {number!r}, not a number of COCO's.")
        note = known.get(row.text("question_id"))
        if note is None:
            skipped.add("no annotation", row.where)
            continue
        yield Sample(
            sample_id=sample_id,
            image_id=f"vqav2/{number}",
            open_image=ImageFile(path.parent / subset / f"COCO_{subset}_{int(number):012d}.jpg"),
            question=asked(SHORT_ANSWER, row.text("question")),
            answers=note.answers,
            metric="vqa_official",
            dataset="vqav2",
            split=subset.removesuffix("2014"),
            family=note.family,
            kind=note.kind,
            prompt=SHORT_ANSWER,
        )


@dataclass(frozen=True, slots=True)
class _Note:
    """What is kept of an annotation while the questions are read; texts that repeat are kept once."""

    answers: tuple[str, ...]
    family: str
    kind: str

    @classmethod
    def of(cls, row: Row) -> _Note:
        texts = (
            *(answer.text("answer") for answer in listed(row, "answers")),
            row.text("answer_type"),
            row.text("question_type"),
        )
        *answers, family, kind = map(sys.intern, texts)
        return cls(tuple(answers), family, kind)
