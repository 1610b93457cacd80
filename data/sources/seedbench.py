"""SEED-Bench: ``seedbench:image``, or the file ``SEED-Bench.json``.

Format: github.com/AILab-CVC/SEED-Bench, DATASET.md: under ``questions`` a list of question_id, question,
choice_a to choice_d, answer (a letter), data_id, data_type, question_type_id; under ``question_type`` the
names of those types; images are ``SEED-Bench-image/DATA_ID``. Videos are left out and counted. Written
from that description and tried on made examples only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.records import Sample
from data.sources.files import ImageFile, SourceError, identified, json_rows, locate
from data.sources.json_stream import member
from data.sources.options import references
from data.sources.prompts import OPTION_LETTER, asked
from data.sources.skipped import Skipped


def read(where: str, data_dir: Path | None, skipped: Skipped) -> Iterator[Sample]:
    if not Path(where).is_file() and where != "image":
        raise SourceError(f"seedbench: {where!r} is neither a file nor 'image', the part that is read.")
    path = locate(where, data_dir, "seedbench", "SEED-Bench.json", "github.com/AILab-CVC/SEED-Bench")
    names = _types(member(path, "question_type"))
    for sample_id, row in identified(json_rows(path, "questions"), "seedbench", "question_id", skipped):
        if row.text("data_type") != "image":
            skipped.add(f"a {row.text('data_type')} instead of an image", row.where)
            continue
        image = row.text("data_id")
        choices = tuple(row.text(f"choice_{letter}") for letter in "abcd")
        kind = row.text("question_type_id")
        yield Sample(
            sample_id=sample_id,
            image_id=f"seedbench/{image}",
            open_image=ImageFile(path.parent / "SEED-Bench-image" / image),
            question=asked(OPTION_LETTER, row.text("question"), choices),
            answers=references(row, "answer", choices),
            metric="seedbench_lmms",
            dataset="seedbench",
            split="image",
            family=names.get(kind, kind),
            prompt=OPTION_LETTER,
        )


def _types(types: Any) -> dict[str, str]:
    """Number of a question type -> its name; empty where the file does not say."""
    return {str(number): str(name) for name, number in types.items()} if isinstance(types, dict) else {}
