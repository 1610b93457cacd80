"""Samples whose picture could not be opened: a row with the error for each, beside the outcome table.

They have no outcomes, so that no mean is taken over them; ``unreadable.jsonl`` says which ones and why.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from data.files import write_atomically
from data.records import Sample

NAME = "unreadable.jsonl"


def write_unreadable(folder: Path, samples: Iterable[Sample], errors: Mapping[str, str]) -> int:
    """Write a row (sample_id, image_id, dataset, question, error) for every sample of an image in ``errors``.

    errors: image id -> why it could not be opened. samples: of the whole data set, read once and not kept.
    Where there are no errors there is no file. Returns how many rows there are.
    """
    path = folder / NAME
    if not errors:
        path.unlink(missing_ok=True)
        return 0
    count = 0

    def write(temporary: Path) -> None:
        nonlocal count
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            for sample in samples:
                if sample.image_id in errors:
                    count += 1
                    row = {
                        "sample_id": sample.sample_id,
                        "image_id": sample.image_id,
                        "dataset": sample.dataset,
                        "question": sample.question,
                        "error": errors[sample.image_id],
                    }
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")

    write_atomically(path, write)
    return count
