"""Finding the second replicate of an outcome table: the same samples, their pictures harmlessly perturbed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data.records import IDENTITY, OutcomeTable, RecordError, read_outcomes
from training.report.places import MANIFEST, SUFFIX


def find_replicate(home: Path, table: OutcomeTable, given: Path | None) -> tuple[OutcomeTable, Path] | None:
    """The replicate of ``table`` (read from ``home``), its samples in the table's order, and its folder.

    given: folder of the replicate's table; left out, ``SPLIT+1`` beside ``home`` where it exists. Raises
    `RecordError` for a folder without a table, and for a table that is no replicate of this one.
    """
    folder = home.parent / f"{table.split}{SUFFIX}" if given is None else given
    if not (folder / MANIFEST).is_file():
        if given is None:
            return None
        raise RecordError(f"There is no outcome table in {folder}: --replicate wants the folder of one.")
    return align(read_outcomes(folder), table, folder), folder


def align(other: OutcomeTable, table: OutcomeTable, folder: Path) -> OutcomeTable:
    """``other`` in the order of ``table``. Raises `RecordError` unless it is another run of its samples."""
    if other.split not in (table.split, f"{table.split}{SUFFIX}"):
        raise RecordError(
            f"{folder} holds the split '{other.split}': a replicate of '{table.split}' holds the same one, "
            f"or '{table.split}{SUFFIX}'."
        )
    keys = ("dataset", *IDENTITY)
    for key in keys:
        mine, its = table.manifest.get(key), other.manifest.get(key)
        if mine != its and (key != "dataset" or not _same_dataset(mine, its)):
            raise RecordError(
                f"{folder} has {key} {its!r} and the table reported on {mine!r}: a replicate differs in "
                "the pixels alone."
            )
    if other.scales != table.scales:
        raise RecordError(f"{folder} has the scales {other.scales}, not {table.scales}: it is no replicate.")
    place = {sample_id: i for i, sample_id in enumerate(other.sample_ids)}
    missing = [sample_id for sample_id in table.sample_ids if sample_id not in place]
    if missing or len(other) != len(table):
        first = f"sample {missing[0]!r} is not in it" if missing else "it has samples of its own"
        raise RecordError(
            f"{folder} has {len(other):,} samples and the table reported on {len(table):,}; {first}. "
            "A replicate has the same samples: label all of them."
        )
    aligned = other.take([place[sample_id] for sample_id in table.sample_ids])
    for sample_id, ours, theirs in zip(table.sample_ids, table.questions, aligned.questions, strict=True):
        if ours != theirs:
            raise RecordError(
                f"{folder} asks {theirs!r} in sample {sample_id!r}, the table reported on {ours!r}: "
                "a replicate asks the same."
            )
    if _same_run(table, aligned):
        raise RecordError(
            f"{folder} is the table reported on, or a copy: a replicate has perturbed pictures, which leave "
            "a trace in the answers' confidence."
        )
    return aligned


def _same_dataset(ours: object, theirs: object) -> bool:
    """``scalebench:dev`` and ``scalebench:dev+1`` are one data set."""
    return str(ours).removesuffix(SUFFIX) == str(theirs).removesuffix(SUFFIX)


def _same_run(table: OutcomeTable, other: OutcomeTable) -> bool:
    return (
        np.array_equal(table.mean_logprob, other.mean_logprob, equal_nan=True)
        and np.array_equal(table.answers, other.answers)
        and np.array_equal(table.pooled[table.image_index], other.pooled[other.image_index])
    )
