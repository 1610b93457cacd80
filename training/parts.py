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

from data.joining import concat, join_manifests
from data.records import OutcomeTable, RecordError, read_outcomes, write_outcomes
from data.unreadable import read_unreadable, write_rows
from training.shards import PART, LabelError, read_empty
from training.some_scales import KEY as BACKBONE_LADDER
from training.some_scales import Manifest, check_alike, join_scales

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
        """What the manifest says under `PART`. images: of the whole data set."""
        return {"number": self.number, "of": self.of, "images": images}


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a folder holds. table: None for a part of which no image could be opened."""

    folder: Path
    manifest: Manifest
    table: OutcomeTable | None

    @classmethod
    def read(cls, folder: Path) -> Labelled:
        """Raises `RecordError` where there is no table, and no such part."""
        if (manifest := read_empty(folder)) is not None:
            return cls(folder, manifest, None)
        table = read_outcomes(folder)
        return cls(folder, table.manifest, table)

    @property
    def number(self) -> int:
        """For the order of parts; tables of some scales stay as they were given."""
        said = self.manifest.get(PART)
        return int(said["number"]) if isinstance(said, Mapping) else 0


def merge(folders: Sequence[Path], out: Path) -> OutcomeTable:
    """The table of all parts, or of all scales, written to ``out``; ``folders`` in any order.

    Where both were divided, the parts of each choice of scales are merged first, then the scales. The rows
    of images that could not be opened (`data.unreadable`) come along, each once.
    Raises `RecordError` when a part is missing, a part or scale comes twice, or one is of another run.
    """
    found = [Labelled.read(folder) for folder in folders]
    tables = [(each.folder, each.table) for each in found if each.table is not None]
    of_scales = [PART not in each.manifest and BACKBONE_LADDER in each.manifest for each in found]
    if any(of_scales) and not all(of_scales):
        some, other = (found[of_scales.index(kind)].folder for kind in (True, False))
        raise RecordError(
            f"{some} has some scales of the ladder, {other} is not such a table. Merge tables that were made "
            "with --scales among themselves, parts before."
        )
    whole = join_scales(tables) if any(of_scales) else _join_parts(found)
    rows = read_unreadable([each.folder for each in sorted(found, key=lambda each: each.number)])
    write_outcomes(out, whole)
    write_rows(out, list(rows.values()))
    return whole


def _join_parts(found: Sequence[Labelled]) -> OutcomeTable:
    parts: dict[int, Labelled] = {}
    for each in found:
        said = each.manifest.get(PART)
        if not isinstance(said, Mapping) or [type(said.get(k)) for k in _NUMBERS] != [int] * 3:
            raise RecordError(
                f"{each.folder} is not a part of a table. Parts are made by `m3-train label --shard I/N`."
            )
        _check_one_whole(found[0], each)
        check_alike(found[0].folder, found[0].manifest, each.folder, each.manifest, "ladder")
        if each.number in parts:
            twin = parts[each.number].folder
            raise RecordError(f"{each.folder} and {twin} are both part {each.number} of {said['of']}.")
        parts[each.number] = each
    of = found[0].manifest[PART]["of"] if found else 0  # type: ignore[index]
    missing = [f"{number}/{of}" for number in range(1, of + 1) if number not in parts]
    if missing or not parts:
        raise RecordError(f"Missing parts: {', '.join(missing) or 'all'}. Give the folders of all of them.")
    ordered = [parts[number] for number in sorted(parts)]
    tables = [each.table for each in ordered if each.table is not None]
    if not tables:
        raise RecordError("No image of any part could be opened: there is nothing to merge.")
    manifest = join_manifests([{k: v for k, v in each.manifest.items() if k != PART} for each in ordered])
    return replace(concat([_whole(table) for table in tables]), manifest=manifest)


def _check_one_whole(first: Labelled, other: Labelled) -> None:
    theirs, ours = first.manifest[PART], other.manifest[PART]
    assert isinstance(theirs, Mapping)
    assert isinstance(ours, Mapping)
    for key in ("of", "images"):
        if theirs[key] != ours[key]:
            raise RecordError(
                f"{other.folder} and {first.folder} are not parts of one table: {key} is {ours[key]} and "
                f"{theirs[key]}. Label all parts of the same data set, with the same N and the same --limit."
            )


def _whole(table: OutcomeTable) -> OutcomeTable:
    return replace(table, manifest={k: v for k, v in table.manifest.items() if k != PART})
