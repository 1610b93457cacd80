"""A cache of pooled tokens at scale 36: too large for outcome tables, rebuilt from the images by a command.

A folder holds ``manifest.json`` (what the tokens are of) and parts: ``part-00000.npz`` with ``ids`` [k] and
``grids`` float16 [k, 36, D]. 50,000 images take 58 MB. A part is there as a whole or not at all, so that a
run that was killed goes on behind the last one. Image ids are those of the outcome tables; that id and
picture belong together is checked against the pooled tokens that the tables do store.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from data.files import sha256, write_atomically, write_bytes
from data.records import ImageSource, OutcomeTable, Sample
from m3_backbone.scales import Ladder
from m3_backbone.types import SUMMARY_VERSION

if TYPE_CHECKING:
    from PIL import Image

SCALE = 36
COARSE = 9
PART_IMAGES = 1000
_MANIFEST = "manifest.json"
_FORMAT = {"format": "m3-grids", "format_version": 1}
_CLOSE = 0.02  # float16 of the tokens, and a device's own rounding; other pictures are tenths away


class GridsError(ValueError):
    """A cache that cannot be used; the message names the remedy."""


class Encodes(Protocol):
    """What makes grids: a loaded `m3_backbone.model.M3Model`."""

    fingerprint: str

    @property
    def ladder(self) -> Ladder: ...

    def encode_image(self, image: Image.Image, /) -> Any: ...


@dataclass(frozen=True)
class Grids:
    """The cache in ``folder``. width: D. digest: of its content; equal caches fit equal candidates."""

    folder: Path
    backbone_fingerprint: str
    summary_version: int
    width: int
    digest: str

    @classmethod
    def open(cls, folder: Path) -> Grids:
        """Raises `GridsError` where there is none."""
        try:
            manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
            if {key: manifest.get(key) for key in _FORMAT} != _FORMAT or manifest.get("scale") != SCALE:
                raise ValueError(f"format {manifest.get('format')!r}, scale {manifest.get('scale')!r}")
            backbone, version = str(manifest["backbone_fingerprint"]), int(manifest["summary_version"])
            width = int(manifest["width"])
            content = "".join(sha256(path) for path in _parts(folder))
        except FileNotFoundError:
            raise GridsError(f"There are no grids in {folder}: make them with `m3-train grids`.") from None
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise GridsError(
                f"{folder / _MANIFEST} is not that of grids ({error}): make them again."
            ) from error
        return cls(folder, backbone, version, width, hashlib.sha256(content.encode()).hexdigest()[:16])

    def __len__(self) -> int:
        return len(self._read[0])

    def of(self, table: OutcomeTable) -> NDArray[np.float32]:
        """Tokens of the table's images: [m, 36, D] float32, in their order.

        Raises `GridsError` for a table of another backbone, without pooled tokens of scale 9, with an image
        that is missing here, or whose image is another picture than the one encoded.
        """
        if self.backbone_fingerprint != table.backbone_fingerprint:
            raise GridsError(
                f"The grids in {self.folder} are of backbone {self.backbone_fingerprint!r}, the table is of "
                f"{table.backbone_fingerprint!r}: make grids with the table's backbone."
            )
        if self.summary_version != table.manifest.get("summary_version", SUMMARY_VERSION):
            raise GridsError(
                f"The grids in {self.folder} have summary version {self.summary_version}, the table has "
                f"{table.manifest.get('summary_version')!r}: make them again."
            )
        row, grids = self._read
        missing = [image for image in table.image_ids if image not in row]
        if missing:
            raise GridsError(
                f"{len(missing)} of the table's {len(table.image_ids)} images have no grid in {self.folder} "
                f"({missing[0]!r} first): run `m3-train grids` with their data set and the same --out."
            )
        found = grids[[row[image] for image in table.image_ids]].astype(np.float32)
        self._check(found, table)
        return found

    def _check(self, found: NDArray[np.float32], table: OutcomeTable) -> None:
        below = [scale for scale in table.scales if scale <= COARSE]
        if COARSE not in below or table.pooled.shape[1:] != (sum(below), found.shape[2]):
            raise GridsError(
                f"The table's pooled tokens are {table.pooled.shape[1:]}: grids need those of scale "
                f"{COARSE}, {found.shape[2]} numbers each. Label with a ladder that has it."
            )
        m, _, width = found.shape
        coarse = found.reshape(m, 3, 2, 3, 2, width).mean(axis=(2, 4)).reshape(m, COARSE, width)
        stored = table.pooled[:, -COARSE:]
        size = np.abs(stored).max(axis=(1, 2), initial=1e-3)
        other = np.flatnonzero(np.abs(coarse - stored).max(axis=(1, 2), initial=0.0) > _CLOSE * size)
        if len(other):
            raise GridsError(
                f"{len(other)} images in {self.folder} are other pictures than the table's "
                f"({table.image_ids[other[0]]!r} first): make their grids from the data set that was "
                "labelled."
            )

    @cached_property
    def _read(self) -> tuple[dict[str, int], NDArray[np.float16]]:
        """(row of each image, [m, 36, D])."""
        return _read_parts(self.folder, self.width)


@dataclass(frozen=True)
class Built:
    """cached: images in the cache now; encoded: by this run; unreadable: id -> why."""

    cached: int
    encoded: int
    unreadable: dict[str, str]


def build(
    backbone: Encodes,
    samples: Iterable[Sample],
    out: Path,
    *,
    told: Callable[[int], None] = lambda done: None,
    part_images: int = PART_IMAGES,
) -> Built:
    """Encode every image of ``samples`` that ``out`` lacks, once. told: called with images encoded so far.

    Raises `GridsError` for a cache of another backbone in ``out``, or a ladder without scale 36.
    """
    from m3_backbone.summary import POOLED_WIDTH, pooled_tokens

    if SCALE not in backbone.ladder.scales or COARSE not in backbone.ladder.scales:
        raise GridsError(f"The ladder {backbone.ladder.scales} lacks {COARSE} or {SCALE}: no grids of it.")
    manifest = {
        **_FORMAT,
        "backbone_fingerprint": backbone.fingerprint,
        "summary_version": SUMMARY_VERSION,
        "scale": SCALE,
        "width": POOLED_WIDTH,
    }
    out.mkdir(parents=True, exist_ok=True)
    if (out / _MANIFEST).exists():
        there = Grids.open(out)
        if (there.backbone_fingerprint, there.summary_version) != (backbone.fingerprint, SUMMARY_VERSION):
            raise GridsError(
                f"{out} holds grids of backbone {there.backbone_fingerprint!r}: choose another --out."
            )
    elif any(out.iterdir()):
        raise GridsError(f"{out} holds something other than grids: choose another --out.")
    else:
        write_bytes(out / _MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
    seen = set(_read_parts(out, POOLED_WIDTH)[0])
    before = len(seen)
    number = max((int(path.stem.rpartition("-")[2]) for path in _parts(out)), default=-1) + 1
    unreadable: dict[str, str] = {}
    waiting: dict[str, NDArray[np.float32]] = {}

    def flush() -> None:
        nonlocal number
        if waiting:
            _write_part(out / f"part-{number:05d}.npz", waiting)
            number += 1
            waiting.clear()

    for sample in samples:
        if sample.image_id in seen or sample.image_id in unreadable:
            continue
        opened = _open(sample.open_image)
        if isinstance(opened, str):
            unreadable[sample.image_id] = opened
            continue
        seen.add(sample.image_id)
        waiting[sample.image_id] = pooled_tokens(
            backbone.encode_image(opened).grid[0], backbone.ladder, SCALE
        )
        told(len(seen) - before)
        if len(waiting) >= part_images:
            flush()
    flush()
    return Built(len(seen), len(seen) - before, unreadable)


def _open(source: ImageSource) -> Image.Image | str:
    try:
        return source()
    except (OSError, ValueError, MemoryError) as error:
        return str(error)


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.npz"))


def _read_parts(folder: Path, width: int) -> tuple[dict[str, int], NDArray[np.float16]]:
    ids: list[str] = []
    grids = [np.zeros((0, SCALE, width), np.float16)]
    for path in _parts(folder):
        try:
            with np.load(path, allow_pickle=False) as part:
                names, values = part["ids"], part["grids"]
            if values.dtype != np.float16 or values.shape != (len(names), *grids[0].shape[1:]):
                raise ValueError(f"grids are {values.dtype} {values.shape}")
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise GridsError(
                f"{path} cannot be read ({error}): remove it, then run `m3-train grids`."
            ) from error
        ids += names.tolist()
        grids.append(values)
    return {image: row for row, image in enumerate(ids)}, np.concatenate(grids)


def _write_part(path: Path, grids: dict[str, NDArray[np.float32]]) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, ids=np.array(list(grids)), grids=np.stack(list(grids.values())).astype(np.float16))

    write_atomically(path, write)
