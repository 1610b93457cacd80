"""Parquet: ``parquet:FILE`` or ``parquet:FOLDER`` (all files in it), with the columns of
`data.sources.generic`.

``image`` holds a path relative to the folder (the file's own for a FILE), the bytes of an image file, or what
Hugging Face's data sets have: a struct of bytes and path. Only the row group in hand is in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from data.records import ImageSource, Sample
from data.sources.files import ImageFile, Row, SourceError, picture
from data.sources.generic import beside, samples
from data.sources.skipped import Skipped

NEEDED = ("image", "question", "answers")


def read(where: str, data_dir: Path | None, skipped: Skipped) -> Iterator[Sample]:
    path = placed(where, data_dir)
    paths = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not paths:
        raise SourceError(f"{path} has no .parquet file in it.")
    rows = (row for each in paths for row in parquet_rows(each, NEEDED, ("image",)))
    return samples(path.stem, rows, lambda row: embedded_or_beside(row, path), skipped)


def placed(where: str, data_dir: Path | None) -> Path:
    """``where`` as a path, in the folder of the data sets when it is not here."""
    path = Path(where)
    return data_dir / where if data_dir is not None and not path.exists() else path


def embedded_or_beside(row: Row, path: Path) -> tuple[str, ImageSource]:
    """An `data.sources.generic.Opener` for rows whose image may be inside the file."""
    home = path if path.is_dir() else path.parent
    if isinstance(row.values.get("image"), str):
        return beside(home)(row)
    image = opened_by(row)
    if row.values.get("image_id") not in (None, ""):
        return row.text("image_id"), image
    return str(Path(row.where).relative_to(home)), image  # files of one name may be in several folders


def opened_by(row: Row) -> ImageSource:
    """What opens the one picture in a row; raises `SourceError` where there is none, or several."""
    image: ImageSource | None = row.values.get("image")
    if image is None:
        raise SourceError(f"{row.where}: image is empty.")
    if not callable(image):
        raise SourceError(
            f"{row.where}: image is a {type(image).__name__}; it must be one picture: a path, bytes, or a "
            "struct of bytes and path."
        )
    return image


@dataclass(frozen=True, slots=True)
class ParquetImage:
    """Opens the picture in one row. group: the row group. place: of the row in it, from 0."""

    path: Path
    group: int
    place: int
    column: str

    def __call__(self) -> Image.Image:
        where = f"{self.path}, row {self.place} of group {self.group}"
        return embedded(_pictures(self.path, self.group, self.column)[self.place], self.path.parent, where)


def embedded(value: Any, folder: Path, where: str) -> Image.Image:
    """The picture in a cell: bytes, or a struct of bytes and, where those are null, a path."""
    value = value.as_py()
    content = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(content, bytes):
        return picture(content, f"in {where}")
    if isinstance(value, dict) and isinstance(value.get("path"), str):
        return ImageFile(folder / value["path"])()
    raise SourceError(f"Image in {where} is empty.")


@lru_cache(maxsize=1)  # images are opened in the order of the rows: a group is read once
def _pictures(path: Path, group: int, column: str) -> Any:
    try:
        return pq.ParquetFile(path).read_row_group(group, columns=[column])[column]
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{path} cannot be read: {error}.") from None


def parquet_rows(path: Path, needed: Sequence[str], images: Sequence[str]) -> Iterator[Row]:
    """Rows, with a `ParquetImage` under each of ``images`` that holds pictures; ``needed`` must be there."""
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{path} cannot be read: {error}.") from None
    with file:
        names, inside = columns_of(file.schema_arrow, path, needed, images)
        classes = class_names(file.schema_arrow)
        number = 0
        for group in range(file.num_row_groups):
            place = 0
            for batch in file.iter_batches(batch_size=256, row_groups=[group], columns=names):
                for values in batch.to_pylist():
                    number += 1
                    pictures = {name: ParquetImage(path, group, place, name) for name in inside}
                    yield Row({**named(values, classes), **pictures}, f"{path}, row {number}")
                    place += 1


def columns_of(
    schema: Any, path: Path, needed: Sequence[str], images: Sequence[str]
) -> tuple[list[str], list[str]]:
    """(columns to be read, columns of ``images`` that hold pictures); raises for one that is not there."""
    missing = [name for name in needed if name not in schema.names]
    if missing:
        found = ", ".join(schema.names)
        raise SourceError(f"{path} has no column {missing[0]!r}; its columns are: {found}.")
    inside = [name for name in images if name in schema.names and _holds_pictures(schema.field(name).type)]
    return [name for name in schema.names if name not in inside], inside


def class_names(schema: Any) -> dict[str, list[str]]:
    """Columns that Hugging Face's library stores as numbers of classes (ClassLabel) -> the classes' names.

    Format: its features, as JSON under the schema's key "huggingface".
    """
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError, AttributeError):  # not written by that library
        return {}


def named(values: dict[str, Any], classes: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A row with the names of classes in place of their numbers; -1, which is no class, becomes None."""
    for column, names in classes.items():
        if isinstance(number := values.get(column), int):
            values[column] = names[number] if 0 <= number < len(names) else None
    return values


def _holds_pictures(kind: Any) -> bool:
    return bool(pa.types.is_struct(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
