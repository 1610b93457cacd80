"""Makes the cache of finer pooled tokens (`data.grids`) for a table that came without it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data import grids
from data.records import OutcomeTable, RecordError, Sample
from m3_backbone.types import Float32
from training.answering import Backbone
from training.prefetch import open_all

PART_IMAGES = 1000


@dataclass(frozen=True)
class Built:
    """Of the table's images. cached: there now; encoded: by this run; faults: image id -> why not."""

    cached: int
    encoded: int
    faults: dict[str, str]


def build(
    backbone: Backbone,
    table: OutcomeTable,
    folder: Path,
    samples: Iterable[Sample],
    *,
    told: Callable[[int], None] = lambda encoded: None,
    part_images: int = PART_IMAGES,
    process: bool = True,
) -> Built:
    """Encode every image of ``table``, which lies in ``folder``, that its cache lacks.

    samples: of the data set that was labelled. told: called with the images encoded so far. process: open
    images in a second process. Stopped and called again, it goes on behind the last whole part.

    Raises `RecordError` for another backbone than the table's, for images that ``samples`` lack, for a ladder
    without finer tokens, and, at the end, for pictures that are not those of the table.
    """
    if backbone.fingerprint != table.backbone_fingerprint:
        raise RecordError(
            f"{folder} is of backbone {table.backbone_fingerprint!r}, not of {backbone.fingerprint!r}: give "
            "the --backbone (and --ladder, --reducer, --conversation) that it was labelled with."
        )
    out = folder / grids.GRIDS
    if not out.exists():
        grids.begin(out, table.manifest)
    there, _ = grids.read_parts(out, table.manifest)
    first = {sample.image_id: sample for sample in reversed(list(samples))}
    wanted = [image for image in table.image_ids if image not in there]
    absent = [image for image in wanted if image not in first]
    if absent:
        raise RecordError(
            f"{len(absent)} images of {folder} are not in the data set ({absent[0]!r} first): name the one "
            "that was labelled."
        )
    number, encoded = len(grids.parts(out)), 0
    faults: dict[str, str] = {}
    waiting: dict[str, Float32] = {}
    sources = [first[image].open_image for image in wanted]
    with closing(open_all(sources, ahead=16, process=process)) as images:
        for image, opened in zip(wanted, images, strict=True):
            if isinstance(opened, str):
                faults[image] = opened
                continue
            waiting[image] = _finer(backbone, opened, folder)
            encoded += 1
            told(encoded)
            if len(waiting) == part_images:
                grids.write_part(out, number, list(waiting), np.stack(list(waiting.values())))
                number, waiting = number + 1, {}
    if waiting:
        grids.write_part(out, number, list(waiting), np.stack(list(waiting.values())))
    grids.read(folder, table)
    return Built(len(there) + encoded, encoded, faults)


def _finer(backbone: Backbone, opened: Any, folder: Path) -> Float32:
    fine = backbone.summarise(backbone.encode_image(opened), "").fine
    if not len(fine):
        raise RecordError(
            f"{folder}: its ladder {backbone.ladder.scales} has no finer tokens than it stores."
        )
    return fine
