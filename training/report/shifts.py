"""Shifted splits: the tables of data unlike training's, read to stand beside the split reported on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data.reading import how_to_make
from data.records import IDENTITY, OutcomeTable, RecordError, read_outcomes
from training.report.places import FINAL, MANIFEST, original

PREFIX = "shift-"


def read_shifts(
    folders: Sequence[Path], table: OutcomeTable, *, final: bool = False
) -> dict[str, tuple[OutcomeTable, Path]]:
    """Split -> (table, folder), in the order given. A folder is a table, or holds tables in ``shift-*``
    (replicates and the split reported on are left out of those).

    Raises `RecordError` for a folder with neither, for two tables of one split, for a table of another
    backbone or prompt than ``table``, and for the test split without ``final``.
    """
    found: dict[str, tuple[OutcomeTable, Path]] = {}
    for folder in folders:
        named = (folder / MANIFEST).is_file()
        inside = (p.parent for p in folder.glob(f"{PREFIX}*/{MANIFEST}"))
        homes = [folder] if named else sorted(home for home in inside if home.name == original(home.name))
        if not homes:
            raise RecordError(
                f"{folder} is no outcome table and holds none named {PREFIX}*: give --shifts the folder of "
                f"one table, or of several. {how_to_make(folder)} makes one, `make tables` ScaleBench's."
            )
        for home in homes:
            shift = read_outcomes(home)
            if FINAL in shift.split.split("+") and not final:
                raise RecordError(
                    f"{home} is a table of the split '{shift.split}': it is opened by --final only."
                )
            for key in IDENTITY:
                if shift.manifest.get(key) != table.manifest.get(key):
                    raise RecordError(
                        f"{home} has {key} {shift.manifest.get(key)!r} and the table reported on "
                        f"{table.manifest.get(key)!r}: they are not of one run. Label the split again."
                    )
            if shift.split == table.split and not named:
                continue  # the split reported on has the first row anyway
            if shift.split in found or shift.split == table.split:
                raise RecordError(f"The split '{shift.split}' is given twice, the second time in {home}.")
            found[shift.split] = (shift, home)
    return found
