"""Finding the replicates of an outcome table: the same samples, their pictures harmlessly perturbed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count, takewhile
from pathlib import Path

import numpy as np

from data.reading import how_to_make
from data.records import IDENTITY, OutcomeTable, RecordError, read_outcomes
from training.report.places import MANIFEST, original


def find_replicates(
    home: Path, table: OutcomeTable, given: Sequence[Path] = ()
) -> dict[str, tuple[OutcomeTable, Path]]:
    """Name -> (replicate of ``table``, its samples in the table's order; its folder).

    The name is the replicate's split, or the first free one of ``SPLIT+1``, ``SPLIT+2`` and so on where that
    is the table's own, or another's too. home: where ``table`` was read from. given: folders of the
    replicates' tables; left out, ``SPLIT+1``, ``SPLIT+2`` and so on beside ``home``, as far as they exist.
    Raises `RecordError` for a folder without a table, for a table that is no replicate of this one, and for
    two that are the same.
    """
    beside = (home.parent / f"{table.split}+{k}" for k in count(1))
    folders = list(given) or list(takewhile(lambda folder: (folder / MANIFEST).is_file(), beside))
    found: list[tuple[OutcomeTable, Path]] = []
    for folder in folders:
        if not (folder / MANIFEST).is_file():
            raise RecordError(
                f"There is no outcome table in {folder}: --replicate wants the folder of one, made with "
                f"{how_to_make(folder)}."
            )
        other = align(read_outcomes(folder), table, folder)
        for earlier, place in found:
            if _same_run(earlier, other):
                raise RecordError(
                    f"{folder} is the replicate in {place}, or a copy: each has other pictures."
                )
        found.append((other, folder))
    own = [other.split for other, _ in found]
    free = (name for k in count(1) if (name := f"{table.split}+{k}") not in own)
    names = [next(free) if split == table.split or split in own[:i] else split for i, split in enumerate(own)]
    return dict(zip(names, found, strict=True))


def align(other: OutcomeTable, table: OutcomeTable, folder: Path) -> OutcomeTable:
    """``other`` in the order of ``table``. Raises `RecordError` unless it is another run of its samples."""
    if table.split not in (other.split, original(other.split)):
        raise RecordError(
            f"{folder} holds the split '{other.split}': a replicate of '{table.split}' holds the same one, "
            f"or '{table.split}+1', '{table.split}+2' and so on."
        )
    keys = ("dataset", *IDENTITY)
    for key in keys:
        mine, its = table.manifest.get(key), other.manifest.get(key)
        if mine != its and (key != "dataset" or original(str(mine)) != original(str(its))):
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


def _same_run(table: OutcomeTable, other: OutcomeTable) -> bool:
    return (
        np.array_equal(table.mean_logprob, other.mean_logprob, equal_nan=True)
        and np.array_equal(table.answers, other.answers)
        and np.array_equal(table.pooled[table.image_index], other.pooled[other.image_index])
    )
