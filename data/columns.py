"""The columns of an outcome table's Parquet files (`data.writing` says what they hold), and checking them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.records import RecordError

DIFFICULTY = "difficulty."
"""Prefix of the columns of what the generator drew; they may be empty where it drew nothing."""

SAMPLES = {
    "text": "sample_id family kind dataset metric",
    "whole number": "image question text_tokens",
    "list of texts": "references",
    "vector": "interaction",
}
QUESTIONS = {"text": "text", "list of whole numbers": "tokens", "vector": "vector"}
IMAGES = {"text": "image_id", "whole number": "width height views", "vector": "grid_stats pooled"}
OUTCOMES = {
    "text": "answer",
    "whole number": "sample scale visual_tokens answer_tokens flops",
    "number": "score mean_logprob min_logprob first_margin",
}
"""Kind -> columns that a file must have."""

FULL_LOGPROB = "full_logprob"
"""A column that a file of outcomes may have; NaN where it is not known."""


def check_columns(table: pa.Table, kinds: Mapping[str, str], path: Path) -> None:
    """Raises `RecordError` unless ``table``, read from ``path``, has every column, of its kind, and full.

    What it may have and has must be of its kind too.
    """
    wanted = {name: kind for kind, names in kinds.items() for name in names.split()}
    for name in wanted:
        if name not in table.column_names:
            raise RecordError(
                f"{path} has no column {name!r}; its columns are {', '.join(table.column_names)}."
            )
    may_be = (name for name in table.column_names if name.startswith(DIFFICULTY) or name == FULL_LOGPROB)
    wanted |= dict.fromkeys(may_be, "number")
    for name, kind in wanted.items():
        _check_column(table[name], name, kind, path)


def _check_column(column: Any, name: str, kind: str, path: Path) -> None:
    if not _IS[kind](column.type):
        raise RecordError(f"{path}: {name} is a column of type {column.type}, not of {kind}s.")
    if name.startswith(DIFFICULTY):
        return
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise RecordError(f"{path}, row {row}: {name} is empty.")
    if kind not in ("text", "whole number", "number") and pc.list_flatten(column).null_count:
        raise RecordError(f"{path}: {name} has an empty entry.")


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


_IS: dict[str, Callable[[Any], bool]] = {
    "text": _is_text,
    "whole number": pa.types.is_integer,
    "number": pa.types.is_floating,
    "list of texts": lambda kind: _is_list(kind) and _is_text(kind.value_type),
    "list of whole numbers": lambda kind: _is_list(kind) and pa.types.is_integer(kind.value_type),
    "vector": lambda kind: pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type),
}
