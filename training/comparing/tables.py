"""The outcome tables of a comparison: fitted on, calibrated on, compared on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.reading import how_to_make
from data.records import OutcomeTable, RecordError
from training.candidates.base import image_folds
from training.fit import check_tables
from training.report.inputs import Inputs, load_inputs, neighbour
from training.report.places import FINAL, MANIFEST

TRAIN = "router-train"


@dataclass(frozen=True)
class Tables:
    """train: what candidates are fitted on; tune: what they are calibrated on; ``table``: what they are
    compared on. folds: 0, or the number of folds by image of ``train``, which is then compared on itself.
    """

    inputs: Inputs
    train: OutcomeTable
    tune: OutcomeTable
    folds: int = 0

    @property
    def table(self) -> OutcomeTable:
        return self.inputs.table

    @property
    def without_finer(self) -> tuple[str, ...]:
        """Splits whose table came without the finer pooled tokens of its images."""
        tables = (self.train, self.tune, self.table)
        return tuple(dict.fromkeys(table.split for table in tables if not table.fine.shape[1]))

    @property
    def fingerprint(self) -> str:
        """Hash of the three tables' manifests (which hold the hashes of their files) and of the folds."""
        content = [str(self.folds)]
        for split in (TRAIN, "tune", self.table.split):
            content.append((self.inputs.folders[split] / MANIFEST).read_bytes().hex())
        return hashlib.sha256("\n".join(content).encode()).hexdigest()

    def parts(self, seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """(rows of ``train`` to fit on, rows of ``table`` to predict), once or per fold."""
        if not self.folds:
            yield np.arange(len(self.train)), np.arange(len(self.table))
            return
        fold = image_folds(self.train.image_index, self.folds, seed)
        for k in range(self.folds):
            yield np.flatnonzero(fold != k), np.flatnonzero(fold == k)

    def on_test(self) -> Tables:
        """The same, to be compared on the test split beside ``table``; none of its scores and references are
        kept.

        Raises `RecordError` where there is no such table of this backbone.
        """
        folder = self.inputs.folders[self.table.split].parent / FINAL
        table = neighbour(folder, FINAL, self.train)
        if table is None:
            raise RecordError(
                f"The table in {folder} is of another backbone or ladder than that of {TRAIN}: label it anew."
            )
        unknown = replace(
            table, scores=np.zeros_like(table.scores), references=tuple(() for _ in table.references)
        )
        folders = {**self.inputs.folders, FINAL: folder}
        return replace(self, inputs=replace(self.inputs, table=unknown, replicates=(), folders=folders))


def load_tables(
    outcomes: Path,
    split: str = "dev",
    *,
    final: bool = False,
    folds: int = 0,
    replicates: Sequence[Path] = (),
) -> Tables:
    """Read the tables under ``outcomes``, a folder of splits. Raises `RecordError`, also for a split that was
    fitted or calibrated on, and for the test split without ``final``."""
    if folds == 1:
        raise RecordError("One fold has nothing to fit on: take 2 or more, or 0 to compare on a split.")
    if not outcomes.is_dir():
        raise RecordError(
            f"There is no folder {outcomes}: --outcomes takes one with a table per split ({TRAIN}, tune"
            f"{'' if folds else f' and {split}'}), as `m3-train label` makes them. Without that option it is "
            "m3-tiny's."
        )
    if not folds and split in (TRAIN, "tune"):
        raise RecordError(
            f"Candidates are fitted on {TRAIN} and calibrated on tune: compare them on dev, or on folds of "
            f"{TRAIN} with --folds."
        )
    inputs = load_inputs(outcomes, None, TRAIN if folds else split, final=final, replicates=replicates)
    train = inputs.table if folds else inputs.train
    if train is None or inputs.tune is None:
        missing = TRAIN if train is None else "tune"
        raise RecordError(
            f"{outcomes} has no table of {missing} of the same backbone: candidates are fitted on {TRAIN} "
            f"and calibrated on tune. Make it with {how_to_make(outcomes / missing)}."
        )
    check_tables(train, inputs.tune)
    return Tables(inputs, train, inputs.tune, folds)
