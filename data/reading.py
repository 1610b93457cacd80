"""Reading outcome tables, with every check that a damaged or foreign folder deserves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data import grids
from data.columns import DIFFICULTY, FULL_LOGPROB, IMAGES, OUTCOMES, QUESTIONS, SAMPLES, check_columns
from data.files import sha256
from data.records import OutcomeTable, RecordError, long_texts
from data.validation import check_manifest, validate
from data.writing import FILES, MANIFEST

SHIPPED_OUTCOMES = Path(__file__).parent / "outcomes" / "tiny"
"""Outcome tables of m3-tiny in the repository, one folder per split."""


def read_table(folder: Path, *, verify: bool = True) -> OutcomeTable:
    """See `data.records.read_outcomes`."""
    manifest = read_manifest(folder)
    if verify:
        _verify(folder, manifest)
    samples = _read(folder / "samples.parquet", SAMPLES)
    questions = _read(folder / "questions.parquet", QUESTIONS)
    images = _read(folder / "images.parquet", IMAGES)
    outcomes = _read(folder / "outcomes.parquet", OUTCOMES)
    scales = tuple(_list(manifest, "ladder"))
    n, m = samples.num_rows, images.num_rows
    question_row = _rows(samples, "question", questions.num_rows, folder / "samples.parquet")
    image_index = _rows(samples, "image", m, folder / "samples.parquet")
    _check_rectangle(outcomes, n, scales, folder / "outcomes.parquet")

    def per_scale(name: str) -> NDArray[Any]:
        values: NDArray[Any] = outcomes[name].to_numpy().reshape(n, len(scales))
        return values

    texts = questions["text"].to_pylist()
    tokens = [np.array(t, np.int32) for t in questions["tokens"].to_pylist()]
    grid_stats = _floats(images["grid_stats"], m)
    table = OutcomeTable(
        manifest=manifest,
        scales=scales,
        sample_ids=tuple(samples["sample_id"].to_pylist()),
        questions=tuple(texts[q] for q in question_row),
        references=tuple(tuple(r) for r in samples["references"].to_pylist()),
        families=_texts(samples["family"]),
        kinds=_texts(samples["kind"]),
        datasets=_texts(samples["dataset"]),
        metrics=_texts(samples["metric"]),
        image_index=image_index,
        image_ids=tuple(images["image_id"].to_pylist()),
        image_sizes=np.stack([images[c].to_numpy().astype(np.int64) for c in ("width", "height")], axis=1),
        image_views=images["views"].to_numpy().astype(np.int64),
        answers=long_texts(outcomes["answer"].to_pylist()).reshape(n, len(scales)),
        scores=per_scale("score"),
        visual_tokens=per_scale("visual_tokens").astype(np.int64),
        text_tokens=samples["text_tokens"].to_numpy().astype(np.int64),
        answer_tokens=per_scale("answer_tokens").astype(np.int64),
        mean_logprob=per_scale("mean_logprob").astype(np.float32),
        min_logprob=per_scale("min_logprob").astype(np.float32),
        first_margin=per_scale("first_margin").astype(np.float32),
        flops=per_scale("flops"),
        full_logprob=per_scale(FULL_LOGPROB).astype(np.float32)
        if FULL_LOGPROB in outcomes.column_names
        else np.zeros((0, 0), np.float32),
        grid_stats=grid_stats,
        grid_stat_names=tuple(_list(manifest, "grid_stat_names")),
        pooled=_pooled(images["pooled"], m, manifest, folder),
        question=_floats(questions["vector"], questions.num_rows)[question_row],
        question_tokens=tuple(tokens[q] for q in question_row),
        interaction=_floats(samples["interaction"], n),
        interaction_names=tuple(_list(manifest, "interaction_names")),
        difficulty={
            name.removeprefix(DIFFICULTY): samples[name].to_numpy().astype(np.float32)
            for name in samples.column_names
            if name.startswith(DIFFICULTY)
        },
    )
    table = replace(table, fine=grids.read(folder, table))
    validate(table, str(folder))
    return table


def read_manifest(folder: Path) -> Mapping[str, object]:
    """The checked manifest of the table in ``folder``."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        what = f"it has no {MANIFEST}" if folder.is_dir() else "there is no such folder"
        again = "; an interrupted one continues when run again" if folder.is_dir() else ""
        raise RecordError(
            f"{folder} is not an outcome table: {what}. Make one with {how_to_make(folder)}{again}."
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise RecordError(f"{path} is damaged: {error}.") from None
    check_manifest(manifest, str(path))
    return dict(manifest)


def how_to_make(folder: Path) -> str:
    """The command that makes the outcome table ``folder``; of m3-tiny's own the target of make too."""
    from data.scalebench.plans import PLANS  # it draws: only who lacks a table pays for it

    home = SHIPPED_OUTCOMES.resolve()
    parent, name = folder.resolve().parent, folder.resolve().name
    makes = parent == home and name in PLANS and (home.parents[2] / "Makefile").is_file()
    return "`m3-train label`" + (f" (this one: `make table-{name}`)" if makes else "")


def _verify(folder: Path, manifest: Mapping[str, object]) -> None:
    hashes = manifest["files"]
    assert isinstance(hashes, dict)
    for name in FILES:
        path = folder / name
        if not path.is_file():
            raise RecordError(f"{path} is missing. Copy the whole folder, or label again.")
        if sha256(path) != hashes.get(name):
            raise RecordError(f"{path} is not the file that {MANIFEST} names (its hash differs): damaged?")


def _read(path: Path, kinds: Mapping[str, str]) -> pa.Table:
    try:
        table = pq.read_table(path, memory_map=False)
    except FileNotFoundError:
        raise RecordError(f"{path} is missing. Copy the whole folder, or label again.") from None
    except (pa.ArrowException, OSError) as error:
        raise RecordError(f"{path} cannot be read as Parquet: {error}") from None
    check_columns(table, kinds, path)
    return table


def _list(manifest: Mapping[str, object], key: str) -> list[Any]:
    value = manifest[key]
    assert isinstance(value, list)  # checked by check_manifest
    return value


def _rows(samples: pa.Table, name: str, bound: int, path: Path) -> NDArray[np.int64]:
    values: NDArray[np.int64] = samples[name].to_numpy().astype(np.int64)
    bad = np.flatnonzero((values < 0) | (values >= bound))
    if len(bad):
        raise RecordError(f"{path}, row {bad[0]}: {name} {values[bad[0]]} is none of the {bound} {name}s.")
    return values


def _check_rectangle(outcomes: pa.Table, n: int, scales: Sequence[int], path: Path) -> None:
    """Every sample at every scale exactly once, in order."""
    if outcomes.num_rows != n * len(scales):
        raise RecordError(
            f"{path} has {outcomes.num_rows} rows; {n} samples at {len(scales)} scales "
            f"make {n * len(scales)}."
        )
    sample = outcomes["sample"].to_numpy()
    scale = outcomes["scale"].to_numpy()
    wrong = (sample != np.repeat(np.arange(n), len(scales))) | (scale != np.tile(np.array(scales), n))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise RecordError(
            f"{path}, row {row}: sample {sample[row]} at scale {scale[row]}, where sample "
            f"{row // len(scales)} at scale {scales[row % len(scales)]} belongs. "
            "Every sample needs every scale once."
        )


def _texts(column: Any) -> NDArray[np.str_]:
    return np.array(column.to_pylist(), dtype=np.str_)


def _floats(column: Any, rows: int) -> NDArray[np.float32]:
    """A column of fixed-size lists of float16 as float32 [rows, width]."""
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, np.float32).reshape(rows, column.type.list_size)


def _pooled(column: Any, rows: int, manifest: Mapping[str, object], folder: Path) -> NDArray[np.float32]:
    flat = _floats(column, rows)
    shapes = manifest["shapes"]
    shape = shapes.get("pooled") if isinstance(shapes, Mapping) else None
    if not (
        isinstance(shape, list)
        and [type(side) for side in shape] == [int, int]
        and min(shape) > 0
        and shape[0] * shape[1] == flat.shape[1]
    ):
        raise RecordError(
            f"{folder / MANIFEST}: shape {shape!r} of pooled does not fit its {flat.shape[1]} values."
        )
    return flat.reshape(rows, *shape)
