"""A Hugging Face data set saved with ``save_to_disk``: ``hf:FOLDER``, of several splits ``hf:FOLDER/SPLIT``.

Where there is no such folder, ``hf:OWNER/NAME``, ``hf:OWNER/NAME/SPLIT`` or ``hf:OWNER/NAME/CONFIG/SPLIT`` is
a data set of the hub (`data.sources.hub`).

Format: huggingface.co/docs/datasets, save_to_disk: ``state.json`` names the files under ``_data_files``,
which are Arrow streams; ``dataset_dict.json`` of a folder with several splits names those. The columns
are those of `data.sources.generic`, ``image`` a struct of bytes and path. Files are mapped into memory,
not read. Tried on folders that `datasets` 5.2 made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from data.records import Sample
from data.sources import hub
from data.sources.files import Row, SourceError, read_json
from data.sources.generic import samples
from data.sources.parquet import (
    NEEDED,
    class_names,
    columns_of,
    embedded,
    embedded_or_beside,
    named,
    placed,
)
from data.sources.skipped import Skipped


def read(where: str, data_dir: Path | None, skipped: Skipped) -> Iterator[Sample]:
    folder = placed(where, data_dir)
    if not folder.exists() and hub.is_name(where):
        return hub.read(where, skipped)
    rows = (row for path in _files(folder) for row in _rows(path))
    return samples(folder.name, rows, lambda row: embedded_or_beside(row, folder), skipped)


@dataclass(frozen=True, slots=True)
class ArrowImage:
    """Opens the picture in one row. batch: which batch of the stream. place: of the row in it, from 0."""

    path: Path
    batch: int
    place: int

    def __call__(self) -> Image.Image:
        where = f"{self.path}, row {self.place} of batch {self.batch}"
        return embedded(_batches(self.path)[self.batch]["image"][self.place], self.path.parent, where)


def _files(folder: Path) -> list[Path]:
    several, state = folder / "dataset_dict.json", folder / "state.json"
    if several.is_file():
        content = read_json(several)
        splits = content.get("splits") if isinstance(content, dict) else None
        named = ", ".join(f"hf:{folder}/{split}" for split in splits or ())
        raise SourceError(f"{folder} has several splits. Name one: {named or 'its folder'}.")
    if not state.is_file():
        raise SourceError(
            f"{state} is missing: {folder} is not a data set that was saved with save_to_disk. A folder of "
            "Parquet files is read by parquet:FOLDER."
        )
    content = read_json(state)
    names = [each.get("filename") for each in content.get("_data_files") or ()]
    if not names or not all(isinstance(name, str) for name in names):
        raise SourceError(f"{state} names no files under '_data_files'.")
    if content.get("_indices_data_files"):
        raise SourceError(
            f"{folder} was saved with indices over its rows: call flatten_indices() and save again."
        )
    return [folder / name for name in names]


def _rows(path: Path) -> Iterator[Row]:
    batches = _batches(path)
    names, inside = columns_of(batches[0].schema, path, NEEDED, ("image",)) if batches else ([], [])
    classes = class_names(batches[0].schema) if batches else {}
    number = 0
    for which, batch in enumerate(batches):
        for place, values in enumerate(batch.select(names).to_pylist()):
            number += 1
            pictures = {name: ArrowImage(path, which, place) for name in inside}
            yield Row({**named(values, classes), **pictures}, f"{path}, row {number}")


@lru_cache(maxsize=1)  # batches point into the mapped file: little memory, whatever its size
def _batches(path: Path) -> list[Any]:
    try:
        return list(pa.ipc.open_stream(pa.memory_map(str(path))))
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{path} cannot be read: {error}.") from None
