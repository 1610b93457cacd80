"""Samples whose picture could not be opened: a row with the error for each, beside the outcome table.

They have no outcomes, so that no mean is taken over them; ``unreadable.jsonl`` says which ones and why.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from data.files import write_atomically
from data.records import RecordError, Sample

NAME = "unreadable.jsonl"


def write_unreadable(folder: Path, samples: Iterable[Sample], errors: Mapping[str, str]) -> int:
    """Write a row (sample_id, image_id, dataset, question, error) for every sample of an image in ``errors``.

    Rows are in the order of ``errors``, as an outcome table is in the order of images.

    errors: image id -> why it could not be opened. samples: of the whole data set, read once; only what is
    to be written is kept. Where there are no errors there is no file. Returns how many rows there are.
    """
    if not errors:
        return write_rows(folder, [])
    rows: dict[str, list[str]] = {image: [] for image in errors}
    for sample in samples:
        if sample.image_id in errors:
            row = {
                "sample_id": sample.sample_id,
                "image_id": sample.image_id,
                "dataset": sample.dataset,
                "question": sample.question,
                "error": errors[sample.image_id],
            }
            rows[sample.image_id].append(json.dumps(row, ensure_ascii=False))
    return write_rows(folder, [line for lines in rows.values() for line in lines])


def read_unreadable(folders: Sequence[Path]) -> dict[str, str]:
    """Sample id -> its row as it stands, in order, each sample once; a folder may have none.

    Raises `RecordError` for what is not a row, naming it.
    """
    rows: dict[str, str] = {}  # by sample: tables of other scales of one data set have the same
    for folder in folders:
        for sample, _, line in _read(folder / NAME):
            rows.setdefault(sample, line)
    return rows


def listed_images(folder: Path) -> set[str]:
    """The images that ``folder`` has rows of."""
    return {image for _, image, _ in _read(folder / NAME)}


def _read(path: Path) -> Iterator[tuple[str, str, str]]:
    """(sample id, image id, the row as it stands); nothing where there is no file."""
    if not path.exists():
        return
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            text = line.decode()
            row = json.loads(text)
            sample, image = row["sample_id"], row["image_id"]
        except (ValueError, KeyError, TypeError, RecursionError):  # not UTF-8 and not JSON are ValueErrors
            sample = image = text = None
        if not (isinstance(sample, str) and isinstance(image, str) and isinstance(text, str)):
            raise RecordError(
                f"{path}, row {number} is no row of an image that could not be opened. Run the command that "
                "made this folder again: it writes the file anew."
            )
        yield sample, image, text


def write_rows(folder: Path, lines: Sequence[str]) -> int:
    """Write rows as they stand; no file where there are none. Returns how many."""
    path = folder / NAME
    if not lines:
        path.unlink(missing_ok=True)
        return 0
    content = "".join(f"{line}\n" for line in lines)
    write_atomically(path, lambda temporary: temporary.write_bytes(content.encode()))
    return len(lines)
