"""Writing outcome tables: the Parquet columns of schema version 1.

Arrays that the router sees are float16 (they are representable in it by contract, and that is checked);
so are answer confidences, which lose digits that no policy uses. Questions are stored once per distinct
text, image arrays once per image. ``image``, ``question`` and ``sample`` are row numbers.

samples.parquet: sample_id, image, question, references, family, kind, dataset, metric, text_tokens,
    interaction [I], and one column ``difficulty.NAME`` for each number that the generator drew.
questions.parquet: text, tokens, vector [E].
images.parquet: image_id, width, height, views, grid_stats [G], pooled [P * D]; finer tokens lie
    apart, in a cache (`data.grids`).
outcomes.parquet: sample, scale, answer, score, visual_tokens, answer_tokens, mean_logprob, min_logprob,
    first_margin, flops, and, where any is known, full_logprob (NaN where it is not); sorted by sample, then
    scale.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data import grids
from data.columns import DIFFICULTY, FULL_LOGPROB
from data.files import sha256, write_atomically, write_bytes
from data.records import OF_FILES, SCHEMA_VERSION, OutcomeTable
from data.validation import validate

MANIFEST = "manifest.json"
FILES = ("samples.parquet", "questions.parquet", "images.parquet", "outcomes.parquet")
Columns = dict[str, Any]  # name -> pyarrow array
_ASCENDING = ("image", "sample")  # row numbers that hardly differ from the row before


def write_table(folder: Path, table: OutcomeTable) -> None:
    """See `data.records.write_outcomes`."""
    validate(table, str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    question_row, distinct = _distinct_questions(table)
    contents = {
        "samples.parquet": _samples(table, question_row),
        "questions.parquet": _questions(table, distinct),
        "images.parquet": _images(table),
        "outcomes.parquet": _outcomes(table),
    }
    (folder / MANIFEST).unlink(missing_ok=True)  # from here to the new manifest this is not a table
    for name, columns in contents.items():
        write_atomically(folder / name, partial(_write, columns=columns))
    kept = {k: v for k, v in table.manifest.items() if k not in OF_FILES}
    manifest = {
        **kept,
        "schema_version": SCHEMA_VERSION,
        "ladder": list(table.scales),
        "grid_stat_names": list(table.grid_stat_names),
        "interaction_names": list(table.interaction_names),
        "shapes": {"pooled": list(table.pooled.shape[1:])},
        "counts": {
            "samples": len(table),
            "images": len(table.image_ids),
            "questions": len(distinct),
            "outcomes": table.scores.size,
        },
        "files": {name: sha256(folder / name) for name in FILES},
    }
    grids.write(folder, table)
    write_bytes(folder / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())


def _distinct_questions(table: OutcomeTable) -> tuple[NDArray[np.int32], list[int]]:
    """Row of every sample's question, and for every distinct question a sample that has it."""
    rows: dict[tuple[str, bytes, bytes], int] = {}
    index = np.empty(len(table), np.int32)
    owners: list[int] = []
    for i, text in enumerate(table.questions):
        key = (text, table.question_tokens[i].tobytes(), table.question[i].tobytes())
        row = rows.setdefault(key, len(owners))
        if row == len(owners):
            owners.append(i)
        index[i] = row
    return index, owners


def _samples(table: OutcomeTable, question_row: NDArray[np.int32]) -> Columns:
    columns: Columns = {
        "sample_id": pa.array(table.sample_ids, pa.string()),
        "image": pa.array(table.image_index.astype(np.int32)),
        "question": pa.array(question_row),
        "references": pa.array(table.references, pa.list_(pa.string())),
        "family": pa.array(table.families.tolist(), pa.string()),
        "kind": pa.array(table.kinds.tolist(), pa.string()),
        "dataset": pa.array(table.datasets.tolist(), pa.string()),
        "metric": pa.array(table.metrics.tolist(), pa.string()),
        "text_tokens": pa.array(table.text_tokens.astype(np.int32)),
        "interaction": _halves(table.interaction),
    }
    for name, values in table.difficulty.items():
        columns[f"{DIFFICULTY}{name}"] = pa.array(values.astype(np.float32))
    return columns


def _questions(table: OutcomeTable, owners: list[int]) -> Columns:
    return {
        "text": pa.array([table.questions[i] for i in owners], pa.string()),
        "tokens": pa.array([table.question_tokens[i] for i in owners], pa.list_(pa.int32())),
        "vector": _halves(table.question[np.array(owners, np.int64)]),
    }


def _images(table: OutcomeTable) -> Columns:
    return {
        "image_id": pa.array(table.image_ids, pa.string()),
        "width": pa.array(table.image_sizes[:, 0].astype(np.int32)),
        "height": pa.array(table.image_sizes[:, 1].astype(np.int32)),
        "views": pa.array(table.image_views.astype(np.int32)),
        "grid_stats": _halves(table.grid_stats),
        "pooled": _halves(table.pooled.reshape(len(table.image_ids), -1)),
    }


def _outcomes(table: OutcomeTable) -> Columns:
    n, scales = len(table), len(table.scales)

    def flat(values: NDArray[Any], kind: type[np.generic]) -> pa.Array:
        return pa.array(values.reshape(-1).astype(kind))

    columns: Columns = {
        "sample": pa.array(np.repeat(np.arange(n, dtype=np.int32), scales)),
        "scale": pa.array(np.tile(np.array(table.scales, np.int32), n)),
        "answer": pa.array(table.answers.reshape(-1).tolist(), pa.string()),
        "score": flat(table.scores, np.float64),
        "visual_tokens": flat(table.visual_tokens, np.int32),
        "answer_tokens": flat(table.answer_tokens, np.int32),
        "mean_logprob": flat(table.mean_logprob, np.float16),
        "min_logprob": flat(table.min_logprob, np.float16),
        "first_margin": flat(table.first_margin, np.float16),
        "flops": flat(table.flops, np.int64),
    }
    if np.isfinite(table.full_logprob).any():
        columns[FULL_LOGPROB] = flat(table.full_logprob, np.float16)
    return columns


def _halves(values: NDArray[np.float32]) -> pa.Array:
    """float32 [k, width] as a column of fixed-size lists of float16."""
    flat = pa.array(values.astype(np.float16).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _write(path: Path, columns: Columns) -> None:
    """zstd; float16 columns byte by byte and row numbers by their differences, which compresses better, all
    others through a dictionary."""
    split, dictionary = [], []
    encodings = {name: "DELTA_BINARY_PACKED" for name in columns if name in _ASCENDING}
    for name, column in columns.items():
        if name in encodings:
            continue
        if pa.types.is_float16(column.type):
            split.append(name)
        elif pa.types.is_fixed_size_list(column.type):
            split.append(f"{name}.list.element")
        else:
            dictionary.append(f"{name}.list.element" if pa.types.is_list(column.type) else name)
    pq.write_table(
        pa.table(columns),
        path,
        compression="zstd",
        compression_level=9,
        use_dictionary=dictionary,
        use_byte_stream_split=split,
        column_encoding=encodings or None,
        write_statistics=False,
    )
