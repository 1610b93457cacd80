"""What an outcome table must satisfy to be written or used. Errors name the table, sample and value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.records import SCHEMA_VERSION, OutcomeTable, RecordError

_REQUIRED = {
    "schema_version": int,
    "backbone_fingerprint": str,
    "ladder": list,
    "dataset": str,
    "split": str,
    "prompt": str,
    "metric": str,
    "summary_version": int,
}
_WRITTEN = {"grid_stat_names": list, "interaction_names": list, "shapes": dict, "files": dict, "counts": dict}


PER_SCALE = (
    "answers",
    "scores",
    "visual_tokens",
    "answer_tokens",
    "mean_logprob",
    "min_logprob",
    "first_margin",
    "flops",
    "full_logprob",
)
"""Fields of a table with one value per sample and scale."""


def check_manifest(manifest: object, where: str) -> None:
    """Raises `RecordError` unless ``manifest``, as read from a file, has every key with its type."""
    if not isinstance(manifest, Mapping):
        raise RecordError(f"{where} holds a {type(manifest).__name__}, not an object.")
    version = manifest.get("schema_version")
    if version != SCHEMA_VERSION:
        raise RecordError(
            f"{where} has schema version {version!r}; this program reads {SCHEMA_VERSION}. "
            "Label again with `m3-train label`, or use the program that wrote it."
        )
    _check_keys(manifest, {**_REQUIRED, **_WRITTEN}, where)
    for key, kind in (("ladder", int), ("grid_stat_names", str), ("interaction_names", str)):
        wrong = [value for value in manifest[key] if type(value) is not kind]
        if wrong:
            raise RecordError(f"{where}: manifest key {key!r} holds {wrong[0]!r}, not {_NAMES[kind]}.")
    if not manifest["ladder"]:
        raise RecordError(f"{where}: the table has no scales.")


def validate(table: OutcomeTable, where: str) -> None:
    """Raises `RecordError` for the first thing that is wrong with ``table`` (named ``where``)."""
    _check_keys({"schema_version": SCHEMA_VERSION, "ladder": [], **table.manifest}, _REQUIRED, where)
    if not table.scales:
        raise RecordError(f"{where}: the table has no scales.")
    if list(table.scales) != sorted(set(table.scales)):
        raise RecordError(f"{where}: the scales {list(table.scales)} are not strictly increasing.")
    if not len(table):
        raise RecordError(f"{where}: the table has no samples.")
    _check_shapes(table, where)
    for name in ("sample_ids", "image_ids"):
        _check_unique(getattr(table, name), name.removesuffix("s").replace("_", " "), where)
    scores = table.scores
    bad = ~((scores >= 0) & (scores <= 1))  # NaN is neither
    if bad.any():
        i, s = np.argwhere(bad)[0]
        raise RecordError(
            f"{where}, sample {table.sample_ids[i]!r} at scale {table.scales[s]}: "
            f"score {scores[i, s]} is not in [0, 1]."
        )
    for name in ("visual_tokens", "text_tokens", "answer_tokens", "flops"):
        _check(table, getattr(table, name) >= 0, name, "is negative", where)
    for name in ("mean_logprob", "min_logprob", "first_margin"):
        with np.errstate(over="ignore"):  # it is stored in float16: what is beyond would come back infinite
            stored = getattr(table, name).astype(np.float16)
        _check(table, np.isfinite(stored), name, "is not finite in float16", where)
    with np.errstate(over="ignore"):
        stored = table.full_logprob.astype(np.float16)
    _check(table, ~np.isinf(stored), "full_logprob", "is not finite in float16", where)
    for name in ("question", "interaction"):
        _check(table, _is_half(getattr(table, name)), name, _NOT_HALF, where)
    for name in ("grid_stats", "pooled", "fine"):
        good = _is_half(getattr(table, name)).reshape(len(table.image_ids), -1).all(axis=1)
        if not good.all():
            image = table.image_ids[int(np.argmin(good))]
            raise RecordError(f"{where}, image {image!r}: {name} {_NOT_HALF}.")


_NOT_HALF = "holds a value that is not finite or not exactly representable in float16"


def _is_half(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    with np.errstate(over="ignore"):
        half = values.astype(np.float16).astype(np.float32)
    good: NDArray[np.bool_] = np.isfinite(half) & (half == values)
    return good


def _check(table: OutcomeTable, good: NDArray[np.bool_], name: str, what: str, where: str) -> None:
    """``good``: bool [n, ...]."""
    if good.all():
        return
    i, *rest = np.argwhere(~good)[0]
    value = getattr(table, name)[(i, *rest)]
    raise RecordError(f"{where}, sample {table.sample_ids[i]!r}: {name} {what} ({value}).")


def _check_keys(manifest: Mapping[str, Any], keys: Mapping[str, type], where: str) -> None:
    for key, kind in keys.items():
        value = manifest.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise RecordError(f"{where}: manifest key {key!r} is {value!r}, not {_NAMES[kind]}.")


_NAMES = {int: "an integer", str: "a text", list: "a list", dict: "an object"}


def _check_unique(ids: tuple[str, ...], name: str, where: str) -> None:
    seen: set[str] = set()
    for row, value in enumerate(ids):
        if value in seen:
            raise RecordError(f"{where}, row {row}: {name} {value!r} comes twice.")
        seen.add(value)


def _check_shapes(table: OutcomeTable, where: str) -> None:
    n, m, scales = len(table), len(table.image_ids), len(table.scales)
    expected: dict[str, tuple[int, ...]] = {
        **dict.fromkeys(PER_SCALE, (n, scales)),
        **dict.fromkeys(("families", "kinds", "image_index", "text_tokens"), (n,)),
        "image_sizes": (m, 2),
        "image_views": (m,),
        "grid_stats": (m, len(table.grid_stat_names)),
        "interaction": (n, len(table.interaction_names)),
    }
    for name, shape in expected.items():
        actual = getattr(table, name).shape
        if actual != shape:
            raise RecordError(f"{where}: {name} has shape {actual}; {n} samples, {m} images need {shape}.")
    for name in ("questions", "references", "question_tokens", "question"):
        if len(getattr(table, name)) != n:
            raise RecordError(f"{where}: {name} has {len(getattr(table, name))} rows for {n} samples.")
    if table.question.ndim != 2 or table.pooled.ndim != 3 or len(table.pooled) != m:
        raise RecordError(
            f"{where}: question must be [n, E] and pooled [m, P, D]; "
            f"got {table.question.shape} and {table.pooled.shape}."
        )
    if table.fine.ndim != 3 or len(table.fine) != m:
        raise RecordError(f"{where}: fine must be [m, R, D]; got {table.fine.shape}.")
    if table.image_index.min() < 0 or table.image_index.max() >= m:
        raise RecordError(f"{where}: image_index points outside the {m} images.")
