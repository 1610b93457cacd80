"""Several outcome tables -> one, where they are of the same backbone, ladder and prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from data.records import BY_IMAGE, BY_SAMPLE, IDENTITY, OF_FILES, OutcomeTable, RecordError, pick


def concat(tables: Sequence[OutcomeTable]) -> OutcomeTable:
    """One table of all samples, in order; images of the same id are merged.

    Raises `RecordError` for tables of another backbone, ladder, prompt or summary version, for a sample id
    that comes twice, and for an image id that names two different images.
    """
    if not tables:
        raise RecordError("There is no table to concatenate.")
    first = tables[0]
    if len(tables) == 1:
        return first
    for table in tables[1:]:
        _check_same_kind(first, table)
    _check_unique([i for t in tables for i in t.sample_ids])
    rows: dict[str, tuple[int, int]] = {}  # image id -> first (table, row) that has it
    place: dict[str, int] = {}
    for number, table in enumerate(tables):
        for row, image in enumerate(table.image_ids):
            if image not in rows:
                rows[image] = (number, row)
                place[image] = len(place)
            else:
                _check_same_image(tables[rows[image][0]], rows[image][1], table, row)
    joined: dict[str, Any] = {}
    for name in BY_SAMPLE:
        joined[name] = _join([getattr(t, name) for t in tables])
    for name in BY_IMAGE:
        parts = [getattr(t, name) for t in tables]
        if name == "fine" and len({part.shape[1] for part in parts}) > 1:  # some have no cache of them
            parts = [part[:, :0] for part in parts]
        stacked = _join(parts)
        offsets = np.cumsum([0, *(len(t.image_ids) for t in tables)])
        joined[name] = pick(stacked, np.array([offsets[n] + r for n, r in rows.values()], dtype=np.int64))
    joined["image_index"] = np.concatenate(
        [np.array([place[i] for i in t.image_ids], dtype=np.int64)[t.image_index] for t in tables]
    )
    keys = list(dict.fromkeys(key for t in tables for key in t.difficulty))
    joined["difficulty"] = {
        key: np.concatenate([t.difficulty.get(key, np.full(len(t), np.nan, np.float32)) for t in tables])
        for key in keys
    }
    return replace(first, manifest=join_manifests([t.manifest for t in tables]), **joined)


def _check_same_kind(first: OutcomeTable, other: OutcomeTable) -> None:
    for key in IDENTITY:
        a, b = first.manifest.get(key), other.manifest.get(key)
        if a != b:
            raise RecordError(
                f"The tables cannot be mixed: {key} is {a!r} in one and {b!r} in the other. "
                "Label both with the same backbone and prompt."
            )
    for name in ("scales", "grid_stat_names", "interaction_names"):
        if getattr(first, name) != getattr(other, name):
            raise RecordError(f"The tables cannot be mixed: their {name} differ.")


def _check_unique(ids: Sequence[str]) -> None:
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(i for i in ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
        raise RecordError(f"Sample id {twice!r} comes twice; every sample may be in the table once.")


def _check_same_image(a: OutcomeTable, i: int, b: OutcomeTable, j: int) -> None:
    if not (np.array_equal(a.grid_stats[i], b.grid_stats[j]) and np.array_equal(a.pooled[i], b.pooled[j])):
        raise RecordError(
            f"Image id {a.image_ids[i]!r} names two different images in the tables to be joined."
        )


def join_manifests(manifests: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """What all agree on stays; texts that differ (split, data set, metric) are joined with '+'."""
    joined: dict[str, object] = {}
    for key in dict.fromkeys(key for m in manifests for key in m if key not in OF_FILES):
        values = [m[key] for m in manifests if key in m]
        if all(v == values[0] for v in values):
            joined[key] = values[0]
        elif all(isinstance(v, str) for v in values):
            joined[key] = "+".join(dict.fromkeys(str(v) for v in values))
        elif all(isinstance(v, Mapping) for v in values):
            joined[key] = {k: v for m in values if isinstance(m, Mapping) for k, v in m.items()}
    return joined


def _join(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], tuple):
        return tuple(value for part in parts for value in part)
    return np.concatenate(parts)
