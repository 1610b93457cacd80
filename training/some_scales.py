"""Labelling some scales of the ladder only, and making one table of several such.

A table of some scales is a table like others, of a shorter ladder; its manifest names the backbone's own
ladder under `KEY`. It is never mixed with tables of other scales (`data.joining` refuses other ladders):
`join_scales` puts tables of the same samples side by side instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.records import IDENTITY, OutcomeTable, RecordError
from data.validation import PER_SCALE
from m3_backbone.scales import Ladder
from m3_backbone.types import RouteInputs
from training.shards import LabelError

KEY = "backbone_ladder"
"""Key of the manifest of a table that has some scales only: all scales of the backbone."""

Manifest = Mapping[str, object]

_ALIKE = ("backbone", "dtype", "max_new_tokens", "compiled", "engine")
_OF_SAMPLES = ("dataset", "split", "metric", KEY)
_SAME = ("questions", "references", "metrics", "image_ids", "text_tokens", "image_index", "grid_stats")


def parse_scales(text: str) -> tuple[int, ...]:
    """ "9,36,576" -> (9, 36, 576), in any order; raises `LabelError` for anything else."""
    if re.fullmatch(r"[0-9]{1,9}( *, *[0-9]{1,9})*", text.strip()) is None:
        raise LabelError(f"Scales {text!r} are not numbers with commas between them, as in 9,36,576.")
    scales = [int(part) for part in text.split(",")]
    if len(set(scales)) != len(scales):
        raise LabelError(f"Scales {text!r} name a scale twice.")
    return tuple(sorted(scales))


def some_of(ladder: Ladder, scales: Sequence[int] | None) -> Ladder:
    """The ladder of ``scales`` alone, ``ladder`` itself for None. Raises `ScaleError` for one not on it."""
    if scales is None:
        return ladder
    return Ladder.parse([ladder.validate(scale) for scale in scales])


def narrowed(inputs: RouteInputs, ladder: Ladder) -> RouteInputs:
    """``inputs`` as of a backbone with the scales of ``ladder`` alone; what is seen of the image stays."""
    if inputs.ladder == ladder:
        return inputs
    tokens = tuple(inputs.visual_tokens[inputs.ladder.index(scale)] for scale in ladder)
    return replace(inputs, ladder=ladder, visual_tokens=tokens)


def join_scales(tables: Sequence[tuple[Path, OutcomeTable]]) -> OutcomeTable:
    """One table with the scales of all ``tables``; with all of the backbone's it is as if labelled at once.

    Raises `RecordError` naming the folders for tables of other samples, another backbone, prompt or metric,
    and for a scale that two of them have.
    """
    home, first = tables[0]
    owner: dict[int, tuple[Path, int, int]] = {}  # scale -> folder, table, column
    for number, (folder, table) in enumerate(tables):
        _check_same_samples(home, first, folder, table)
        for column, scale in enumerate(table.scales):
            if scale in owner:
                raise RecordError(
                    f"{folder} and {owner[scale][0]} both have scale {scale}: give one of them."
                )
            owner[scale] = (folder, number, column)
    scales = tuple(sorted(owner))
    joined: dict[str, Any] = {}
    for name in PER_SCALE:
        columns: list[NDArray[Any]] = [
            getattr(tables[number][1], name)[:, column] for _, number, column in (owner[s] for s in scales)
        ]
        joined[name] = np.stack(columns, axis=1)
    manifest = {**first.manifest, "ladder": list(scales)}
    if manifest[KEY] == list(scales):
        del manifest[KEY]
    return replace(first, manifest=manifest, scales=scales, **joined)


def check_alike(home: Path, first: Manifest, folder: Path, manifest: Manifest, *more: str) -> None:
    """Raises `RecordError` unless both tables were labelled in the same way, and agree in ``more`` too.

    first, manifest: theirs. more: keys of them. The ladder may differ.
    """
    for key in (*(key for key in IDENTITY if key != "ladder"), *_ALIKE, *more):
        theirs, ours = first.get(key), manifest.get(key)
        if theirs != ours:
            raise RecordError(
                f"{folder} and {home} were labelled differently: {key} is {ours!r} and {theirs!r}."
            )


def _check_same_samples(home: Path, first: OutcomeTable, folder: Path, table: OutcomeTable) -> None:
    check_alike(home, first.manifest, folder, table.manifest, *_OF_SAMPLES)
    if first.sample_ids != table.sample_ids:
        odd = sorted(set(first.sample_ids) ^ set(table.sample_ids)) or ["(another order)"]
        raise RecordError(
            f"{folder} and {home} have other samples: {odd[0]!r} is in one of them only. Label both with the "
            "same data set and the same --limit."
        )
    for name in _SAME:
        a, b = getattr(first, name), getattr(table, name)
        if not (np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b):
            raise RecordError(f"{folder} and {home} have the same sample ids, but their {name} differ.")
