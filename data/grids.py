"""The finer pooled tokens of a table's images: a cache beside the table, too large to be stored with it.

``grids/manifest.json`` says what the tokens are of; ``grids/part-00000.npz`` and so on hold ``ids`` [k] and
``grids`` float16 [k, R, D]. A part is there as a whole or not at all, so that a run that was killed goes on
behind the last one. Labelling leaves the cache; for tables that came without it `training.grids` makes it
from the images. 50,000 images at scale 36 take 58 MB.

That id and picture belong together is checked on reading: pooling is an average and the projection linear, so
the tokens of the largest stored scale are means of the finer ones.
"""

from __future__ import annotations

import json
import math
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.files import write_atomically, write_bytes
from data.records import OutcomeTable, RecordError
from m3_backbone.types import SUMMARY_VERSION

GRIDS = "grids"
"""Name of the cache's folder, in that of the table."""

_MANIFEST = "manifest.json"
_FORMAT = {"format": "m3-grids", "format_version": 2}
_CLOSE = 0.02  # float16 of the tokens, and a device's own rounding; other pictures are tenths away


def remedy(folder: Path) -> str:
    """What to do about a cache that is of no use."""
    return f"Remove {folder}; `m3-train grids` makes it again."


def read(table_folder: Path, table: OutcomeTable) -> NDArray[np.float32]:
    """[m, R, D] of the images of ``table``, in their order; R is 0 where the cache is missing or unfinished.

    Raises `RecordError` for a cache of another backbone or of other pictures, and for one that is damaged.
    """
    folder, none = table_folder / GRIDS, table.fine[:, :0]
    if not folder.is_dir():
        return none
    row, grids = read_parts(folder, table.manifest)
    if not all(image in row for image in table.image_ids):
        return none
    found = grids[[row[image] for image in table.image_ids]].astype(np.float32)
    _check_pictures(folder, found, table)
    return found


def write(table_folder: Path, table: OutcomeTable) -> None:
    """Replace the cache in ``table_folder`` by that of ``table``; by nothing where it has none."""
    folder = table_folder / GRIDS
    if folder.exists():
        shutil.rmtree(folder)
    if table.fine.shape[1]:
        begin(folder, table.manifest)
        write_part(folder, 0, table.image_ids, table.fine)


def begin(folder: Path, manifest: Mapping[str, object]) -> None:
    """An empty cache for a table with ``manifest``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / _MANIFEST, (json.dumps(_described(manifest), indent=1) + "\n").encode())


def write_part(folder: Path, number: int, ids: Sequence[str], grids: NDArray[np.float32]) -> None:
    """Part ``number``: grids [k, R, D] of the images ``ids`` [k]."""

    def write_to(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, ids=np.array(ids, np.str_), grids=grids.astype(np.float16))

    write_atomically(folder / f"part-{number:05d}.npz", write_to)


def parts(folder: Path) -> list[Path]:
    """The parts that are there, in order."""
    return sorted(folder.glob("part-*.npz"))


def read_parts(folder: Path, manifest: Mapping[str, object]) -> tuple[dict[str, int], NDArray[np.float16]]:
    """(image id -> row, [k, R, D]) of the cache in ``folder``, made for a table with ``manifest``.

    Raises `RecordError` for one of another backbone or format, and for one that is damaged.
    """
    path = folder / _MANIFEST
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise RecordError(f"{path} cannot be read ({error}). {remedy(folder)}") from None
    wanted = _described(manifest)
    if there != wanted:
        key = next((k for k in wanted if not isinstance(there, dict) or there.get(k) != wanted[k]), "content")
        got = there.get(key) if isinstance(there, dict) else there
        raise RecordError(f"{path}: {key} is {got!r}, the table's is {wanted.get(key)!r}. {remedy(folder)}")
    ids: list[str] = []
    grids: list[NDArray[np.float16]] = []
    for part in parts(folder):
        try:
            with part.open("rb") as file, np.load(file, allow_pickle=False) as content:
                names, values = content["ids"], content["grids"]
            if values.dtype != np.float16 or values.ndim != 3 or len(values) != len(names):
                raise ValueError(f"grids are {values.dtype} {values.shape} for {len(names)} ids")
            if grids and values.shape[1:] != grids[0].shape[1:]:
                raise ValueError(f"grids are {values.shape[1:]}, those before {grids[0].shape[1:]}")
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise RecordError(f"{part} cannot be read ({error}). {remedy(folder)}") from None
        ids += names.tolist()
        grids.append(values)
    whole = np.concatenate(grids) if grids else np.zeros((0, 0, 0), np.float16)
    return {image: row for row, image in enumerate(ids)}, whole


def _described(manifest: Mapping[str, object]) -> dict[str, object]:
    return {
        **_FORMAT,
        "backbone_fingerprint": manifest.get("backbone_fingerprint"),
        "summary_version": manifest.get("summary_version", SUMMARY_VERSION),
    }


def _check_pictures(folder: Path, fine: NDArray[np.float32], table: OutcomeTable) -> None:
    """Means of the finer tokens are the table's own coarser ones."""
    m, rows, width = fine.shape
    coarse = _last_scale(table.pooled.shape[1])
    side, below = math.isqrt(rows), math.isqrt(coarse)
    if width != table.pooled.shape[2] or side * side != rows:
        raise RecordError(
            f"{folder}: tokens are {fine.shape[1:]}, the table's are {table.pooled.shape[1:]}. "
            f"{remedy(folder)}"
        )
    if not coarse or side % below:  # scales that are not nested: no mean of one is a token of the other
        return
    step = side // below
    means = fine.reshape(m, below, step, below, step, width).mean(axis=(2, 4)).reshape(m, coarse, width)
    stored = table.pooled[:, -coarse:]
    size = np.abs(stored).max(axis=(1, 2), initial=1e-3)
    other = np.flatnonzero(np.abs(means - stored).max(axis=(1, 2), initial=0.0) > _CLOSE * size)
    if len(other):
        raise RecordError(
            f"{folder}: {len(other)} images are other pictures than the table's "
            f"({table.image_ids[other[0]]!r} first). {remedy(folder)}"
        )


def _last_scale(rows: int) -> int:
    """Tokens of the largest scale of those whose tokens are ``rows`` in all: 9 of 1 + 9."""
    return next((scale for scale in (9, 4, 1) if scale <= rows), 0)
