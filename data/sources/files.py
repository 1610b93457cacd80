"""What readers share: images by path, rows with their line numbers, and errors that say what is expected."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from PIL import Image

if TYPE_CHECKING:
    from data.sources.skipped import Skipped


class SourceError(ValueError):
    """A data set that cannot be read; the message names file, row and remedy."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """Opens one image file through the decoder that the service uses."""

    path: Path

    def __call__(self) -> Image.Image:
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise SourceError(f"Image {self.path} cannot be read: {error.strerror}.") from None
        return picture(content, str(self.path))


def picture(content: bytes, where: str) -> Image.Image:
    """The upright RGB image in a file's bytes; raises `SourceError` naming ``where``."""
    from m3_backbone.images import ImageError, decode

    try:
        return decode(content)
    except ImageError as error:
        raise SourceError(f"Image {where}: {error}") from None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file with the place that errors name."""

    values: Mapping[str, Any]
    where: str

    def text(self, *names: str) -> str:
        """The first of ``names`` that the row has, as text; numbers are written out."""
        for name in names:
            value = self.values.get(name)
            if isinstance(value, str):
                if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
                    raise SourceError(f"{self.where}: {name} holds half a character: {value!r}.")
                return value
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                return str(value)
            if value is not None:
                raise SourceError(f"{self.where}: {name} is {value!r}, not a text.")
        there = ", ".join(name for name, value in self.values.items() if value is not None)
        raise SourceError(f"{self.where} has no {' or '.join(names)}; it has {there or 'nothing'}.")

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, or one text."""
        value = self.values.get(name)
        if isinstance(value, list) and value:
            return tuple(Row({name: v}, self.where).text(name) for v in value)
        if value == []:
            raise SourceError(f"{self.where}: {name} is empty; at least one is needed.")
        return (self.text(name),)

    def first(self, name: str) -> str:
        """The first of a list of texts; empty where there is none."""
        value = self.values.get(name)
        return Row({name: value[0]}, self.where).text(name) if isinstance(value, list) and value else ""


def listed(row: Row, name: str) -> list[Row]:
    """A list of objects in a row; raises `SourceError` when it is empty or something else."""
    value = row.values.get(name)
    if not isinstance(value, list) or not value or not all(isinstance(v, dict) for v in value):
        raise SourceError(f"{row.where}: {name} is {value!r}, not a list of objects.")
    return [Row(v, row.where) for v in value]


def jsonl_rows(path: Path) -> Iterator[Row]:
    """Rows of a JSON-lines file, one at a time. A byte-order mark, CRLF and blank lines are fine."""
    with open_text(path) as file:
        for number, line in enumerate(decoded(file, path), 1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                values = json.loads(line)
            except json.JSONDecodeError as error:
                raise SourceError(f"{where} is not JSON: {error.msg}.") from None
            except RecursionError:
                raise SourceError(f"{where} is not a row: it is nested too deeply.") from None
            yield row(values, where)


def csv_rows(path: Path, needed: Sequence[str] = ()) -> Iterator[Row]:
    """Rows of a CSV file with headings, cells as text. needed: columns that it must have."""
    with open_text(path) as file:
        reader = csv.DictReader(decoded(file, path), strict=True)
        try:
            columns = list(reader.fieldnames or ())
            missing = [c for c in needed if c not in columns]
            if missing:
                found = ", ".join(columns) or "none"
                raise SourceError(f"{path} has no column {missing[0]!r}; its columns are: {found}.")
            if len(set(columns)) != len(columns):
                raise SourceError(f"{path} has a column twice; its columns are: {', '.join(columns)}.")
            for values in reader:
                where = f"{path}, line {reader.line_num}"
                if None in values or None in values.values():
                    raise SourceError(f"{where} does not have {len(columns)} fields.")
                yield Row(values, where)
        except csv.Error as error:
            raise SourceError(f"{path}, line {reader.reader.line_num}: {error}.") from None


def json_rows(path: Path, key: str | None = None) -> Iterator[Row]:
    """Rows of a JSON file that is a list, or has one under ``key``; one at a time."""
    from data.sources.json_stream import entries

    for number, values in entries(path, key):
        yield row(values, f"{path}, entry {number}")


def named_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """(name, row) of a JSON file that is an object of objects, one at a time; raises `SourceError` for a name
    twice."""
    from data.sources.json_stream import named

    for name, values in named(path):
        yield name, row(values, f"{path}, entry {name!r}")


def read_json(path: Path) -> Any:
    """What a JSON file holds, all of it."""
    with open_text(path) as file:
        try:
            return json.loads("".join(decoded(file, path)))
        except json.JSONDecodeError as error:
            raise SourceError(f"{path} is not JSON: {error}.") from None
        except RecursionError:
            raise SourceError(f"{path} is not a data set: it is nested too deeply.") from None


def row(values: object, where: str) -> Row:
    if not isinstance(values, dict):
        raise SourceError(f"{where} is {values!r}, not an object.")
    return Row(values, where)


def open_text(path: Path) -> TextIO:
    """The file as UTF-8 text, with or without a byte-order mark; lines keep their ends."""
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.") from None


def decoded(file: TextIO, path: Path) -> Iterator[str]:
    """The lines of ``file``; raises `SourceError` naming ``path`` where they are not UTF-8."""
    try:
        yield from file
    except UnicodeDecodeError as error:
        raise not_utf8(path, error) from None


def not_utf8(path: Path, error: UnicodeDecodeError) -> SourceError:
    return SourceError(f"{path} is not UTF-8 text ({error.reason}). Save it as UTF-8.")


def locate(where: str, data_dir: Path | None, name: str, relative: str, origin: str) -> Path:
    """The file that ``where`` names: itself when it is one, else ``data_dir/name/relative``.

    origin: where the data set can be had, for the error.
    """
    if Path(where).is_file():
        return Path(where)
    if data_dir is None:
        raise SourceError(
            f"{name}: {where!r} is not a file. Give the file, or set M3_DATA_DIR to the folder that has "
            f"{name}/{relative} (from {origin})."
        )
    path = data_dir / name / relative
    if not path.is_file():
        raise SourceError(f"{name}: {path} is missing. It comes from {origin}.")
    return path


def identified(rows: Iterable[Row], prefix: str, name: str, skipped: Skipped) -> Iterator[tuple[str, Row]]:
    """Rows with the id ``prefix/NAME`` that each has, each id once (see `Skipped.repeats`)."""
    seen: dict[str, int] = {}
    for row in rows:
        sample_id = f"{prefix}/{row.text(name)}"
        if not skipped.repeats(seen, sample_id, row.where):
            yield sample_id, row
