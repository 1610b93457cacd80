"""Tab-separated files with pictures inside, in base64: a row at a time, pictures when they are opened."""

from __future__ import annotations

import base64
import binascii
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from data.sources.files import Row, SourceError, not_utf8, picture

CELL = 2**27
"""Most characters of a cell: a picture of 100 MB."""


@dataclass(frozen=True, slots=True)
class TsvImage:
    """Opens the picture in one cell. offset: bytes before its row. place: of the column, from 0."""

    path: Path
    offset: int
    place: int

    def __call__(self) -> Image.Image:
        where = f"{self.path}, the row at byte {self.offset}"
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                cell = next(_reader(_Lines(file, self.path)))[self.place]
            content = base64.b64decode(cell, validate=True)
        except OSError as error:
            raise SourceError(f"Image in {self.path} cannot be read: {error.strerror}.") from None
        except (StopIteration, IndexError, csv.Error, binascii.Error):
            raise SourceError(f"Image in {where} is not base64, or the file has changed.") from None
        return picture(content, f"in {where}")


def tsv_rows(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, Row]]:
    """(bytes before the row, row) of a file with headings. needed: columns that it must have."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.") from None
    with file:
        lines = _Lines(file, path)
        reader = _reader(lines)
        number = 0
        try:
            columns = next(reader, [])
            missing = [name for name in needed if name not in columns]
            if missing:
                found = ", ".join(columns) or "none"
                raise SourceError(f"{path} has no column {missing[0]!r}; its columns are: {found}.")
            offset = lines.position
            for number, cells in enumerate(reader, 1):
                where = f"{path}, row {number}"
                if cells and len(cells) != len(columns):
                    raise SourceError(f"{where} does not have {len(columns)} fields.")
                if cells:
                    yield offset, Row(dict(zip(columns, cells, strict=True)), where)
                offset = lines.position
        except csv.Error as error:
            raise SourceError(f"{path}, row {number + 1}: {error}.") from None


class _Lines:
    """The lines of a file as text, with the bytes that were read so far."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.position = file.tell()
        self._file = file
        self._path = path

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._file.readline()
        if not line:
            raise StopIteration
        first = self.position == 0
        self.position += len(line)
        try:
            return line.decode("utf-8-sig" if first else "utf-8")
        except UnicodeDecodeError as error:
            raise not_utf8(self._path, error) from None


def _reader(lines: _Lines) -> Iterator[list[str]]:
    csv.field_size_limit(max(csv.field_size_limit(), CELL))  # of the whole process; the default is 128 KiB
    return csv.reader(lines, delimiter="\t", strict=True)
