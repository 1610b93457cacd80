"""Questions worth looking at: routed well, routed badly, hopeless; with pictures where they can be had."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training.report.analysis import Report

if TYPE_CHECKING:
    from PIL import Image

    from data.records import OutcomeTable, Sample

SIDE = 336
"""Longest side of a picture on the page, in pixels: what the model itself sees of one view."""


@dataclass(frozen=True)
class Example:
    """Sample ``row`` of the table. chosen, oracle: indices of scales (oracle -1: none is sufficient).

    picture: data URI, or empty where the picture could not be re-made.
    """

    row: int
    title: str
    chosen: int
    oracle: int
    picture: str = ""


def choose_examples(report: Report, count: int, seed: int = 0) -> list[Example]:
    """Up to ``count`` examples, round robin over kinds of routing, never two of one image."""
    if report.operating is None:
        return []
    table, chosen, oracle = report.inputs.table, report.operating.choice, report.evaluation.oracle.choice
    rng = np.random.default_rng(seed)
    kinds = [
        (title, _by_family(rng.permutation(np.flatnonzero(mask)), table.families))
        for title, mask in _kinds(report)
    ]
    taken: list[Example] = []
    images: set[int] = set()
    shown: dict[str, int] = {}
    while len(taken) < count and any(rows for _, rows in kinds):
        for title, rows in kinds:
            for family in [*rows]:
                while rows[family] and int(table.image_index[rows[family][-1][1]]) in images:
                    rows[family].pop()
                if not rows[family]:
                    del rows[family]
            if not rows or len(taken) == count:
                continue
            # The family shown least so far goes first, so that no family fills the page.
            family = min(rows, key=lambda name: (shown.get(name, 0), rows[name][-1]))
            i = rows[family].pop()[1]
            images.add(int(table.image_index[i]))
            shown[family] = shown.get(family, 0) + 1
            taken.append(Example(i, title, int(chosen[i]), int(oracle[i])))
    return taken


def _by_family(rows: NDArray[np.int64], families: NDArray[np.str_]) -> dict[str, list[tuple[int, int]]]:
    """Family -> its (place, row), the first of ``rows`` last."""
    found: dict[str, list[tuple[int, int]]] = {}
    names = families[rows].tolist()
    for place in range(len(rows) - 1, -1, -1):
        found.setdefault(names[place], []).append((place, int(rows[place])))
    return found


def _kinds(report: Report) -> list[tuple[str, NDArray[np.bool_]]]:
    assert report.operating is not None
    scores, chosen = report.inputs.table.scores, report.operating.choice
    oracle = report.evaluation.oracle.choice
    rows = np.arange(len(scores))
    right = (oracle >= 0) & (scores[rows, chosen] >= scores.max(axis=1))
    top = scores.shape[1] - 1
    return [
        ("Few tokens, and enough", right & (chosen == oracle) & (chosen < top)),
        ("Sent up, and it was needed", right & (chosen == oracle) & (chosen > 0)),
        ("Too cheap: a larger scale knew", (oracle > chosen) & ~right),
        ("Dearer than needed", right & (oracle < chosen) & (oracle >= 0)),
        ("No scale is right", oracle < 0),
        ("More tokens did worse", (oracle >= 0) & (oracle < top) & (scores[:, top] < scores.max(axis=1))),
    ]


def with_pictures(
    examples: Sequence[Example], table: OutcomeTable, samples: Iterable[Sample]
) -> list[Example]:
    """The examples with the pictures that ``samples`` can open; stops as soon as all are found."""
    wanted = {table.sample_ids[e.row]: e for e in examples}
    pictures: dict[int, str] = {}
    for sample in samples:
        if len(pictures) == len(wanted):
            break
        example = wanted.get(sample.sample_id)
        if example is not None:
            try:
                pictures[example.row] = data_uri(sample.open_image())
            except (OSError, ValueError):  # one file that is gone or damaged leaves the others their pictures
                pictures[example.row] = ""
    return [Example(e.row, e.title, e.chosen, e.oracle, pictures.get(e.row, "")) for e in examples]


def source_samples(table: OutcomeTable, data_dir: Path | None = None) -> Iterable[Sample]:
    """The samples that the table was made of, re-made by their source (`data.sources`).

    data_dir: where data sets lie that are named by split (setting ``M3_DATA_DIR``). Raises whatever the
    source raises when its data is not on this machine.
    """
    from data.sources import load

    dataset = str(table.manifest.get("dataset", ""))
    spec = dataset if ":" in dataset else f"{dataset}:{table.split}"
    samples: Iterable[Sample] = load(spec, data_dir)
    return samples


def data_uri(image: Image.Image, side: int = SIDE) -> str:
    """The picture, at most ``side`` pixels long, as the smaller of PNG and JPEG."""
    from PIL import Image as Pillow

    small = image.convert("RGB")
    small.thumbnail((side, side), Pillow.Resampling.LANCZOS)
    encoded = []
    for kind, options in (("png", {"optimize": True}), ("jpeg", {"quality": 82, "optimize": True})):
        buffer = io.BytesIO()
        small.save(buffer, kind, **options)
        encoded.append((len(buffer.getvalue()), kind, buffer.getvalue()))
    _, kind, content = min(encoded)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
