"""Labelling on several machines: each makes one part of the table (or some scales), and they are merged.

A part is a run of neighbouring images in the data set's order, so that the merged table is the one that a
single machine would have made, to the byte. A part's manifest says which one it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from data.joining import concat
from data.records import OutcomeTable, RecordError, read_outcomes, write_outcomes
from data.unreadable import read_unreadable, write_rows
from training.shards import LabelError
from training.some_scales import KEY as BACKBONE_LADDER
from training.some_scales import check_alike, join_scales

KEY = "part"
"""Key of a part's manifest: {"number": 2, "of": 4, "images": of the whole data set}."""

_NUMBERS = ("number", "of", "images")

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Part:
    """Part ``number`` of ``of``, counted from 1."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise LabelError(f"Part {self} does not exist: give I/N with I from 1 to N.")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Part:
        """ "2/4" -> part 2 of 4; raises `LabelError` for anything else."""
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        if found is None:
            raise LabelError(f"Part {text!r} is not of the form I/N, as in 2/4.")
        return cls(int(found[1]), int(found[2]))

    def cut(self, images: Sequence[Item]) -> Sequence[Item]:
        """This part of all images. Raises `LabelError` when it would have none."""
        n = len(images)
        mine = images[n * (self.number - 1) // self.of : n * self.number // self.of]
        if not mine:
            raise LabelError(f"Part {self} would be empty: the data set has {n} images. Use fewer parts.")
        return mine

    def describe(self, images: int) -> dict[str, int]:
        """What the manifest says under `KEY`. images: of the whole data set."""
        return {"number": self.number, "of": self.of, "images": images}


def merge(folders: Sequence[Path], out: Path) -> OutcomeTable:
    """The table of all parts, or of all scales, written to ``out``; ``folders`` in any order.

    Where both were divided, the parts of each choice of scales are merged first, then the scales. The rows
    of images that could not be opened (`data.unreadable`) come along, each once.
    Raises `RecordError` when a part is missing, a part or scale comes twice, or one is of another run.
    """
    tables = [(folder, read_outcomes(folder)) for folder in folders]
    of_scales = [KEY not in table.manifest and BACKBONE_LADDER in table.manifest for _, table in tables]
    if any(of_scales) and not all(of_scales):
        some, other = (tables[of_scales.index(kind)][0] for kind in (True, False))
        raise RecordError(
            f"{some} has some scales of the ladder, {other} is not such a table. Merge tables that were made "
            "with --scales among themselves, parts before."
        )
    whole = join_scales(tables) if any(of_scales) else _join_parts(tables)
    rows = read_unreadable([folder for folder, _ in sorted(tables, key=_number)])
    write_outcomes(out, whole)
    write_rows(out, list(rows.values()))
    return whole


def _number(part: tuple[Path, OutcomeTable]) -> int:
    """For the order of parts; tables of some scales stay as they were given."""
    said = part[1].manifest.get(KEY)
    return int(said["number"]) if isinstance(said, Mapping) else 0


def _join_parts(tables: Sequence[tuple[Path, OutcomeTable]]) -> OutcomeTable:
    parts: dict[int, tuple[Path, OutcomeTable]] = {}
    first: tuple[Path, OutcomeTable] | None = None
    for folder, table in tables:
        said = table.manifest.get(KEY)
        if not isinstance(said, Mapping) or [type(said.get(k)) for k in _NUMBERS] != [int] * 3:
            raise RecordError(
                f"{folder} is not a part of a table. Parts are made by `m3-train label --shard I/N`."
            )
        first = first or (folder, table)
        _check_one_whole(first, folder, table)
        check_alike(*first, folder, table)
        number = int(said["number"])
        if number in parts:
            raise RecordError(f"{folder} and {parts[number][0]} are both part {number} of {said['of']}.")
        parts[number] = (folder, table)
    of = 0 if first is None else first[1].manifest[KEY]["of"]  # type: ignore[index]
    missing = [f"{number}/{of}" for number in range(1, of + 1) if number not in parts]
    if missing or not parts:
        raise RecordError(f"Missing parts: {', '.join(missing) or 'all'}. Give the folders of all of them.")
    return concat([_whole(parts[number][1]) for number in sorted(parts)])


def _check_one_whole(first: tuple[Path, OutcomeTable], folder: Path, table: OutcomeTable) -> None:
    home, other = first
    theirs, ours = other.manifest[KEY], table.manifest[KEY]
    assert isinstance(theirs, Mapping)
    assert isinstance(ours, Mapping)
    for key in ("of", "images"):
        if theirs[key] != ours[key]:
            raise RecordError(
                f"{folder} and {home} are not parts of one table: {key} is {ours[key]} and {theirs[key]}. "
                "Label all parts of the same data set, with the same N and the same --limit."
            )


def _whole(table: OutcomeTable) -> OutcomeTable:
    return replace(table, manifest={k: v for k, v in table.manifest.items() if k != KEY})
