"""Small files of data sets for the tests of readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data.records import Sample
from data.sources import load

SHARED = Path(__file__).parents[2] / "shared" / "samples"  # real files, where they are
SHORT = "\nAnswer the question using a single word or phrase."
"""The suffix of LLaVA's evaluation, spelled out: not what the readers call it."""


def picture(path: Path, number: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def dump(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def png(folder: Path, number: int = 0) -> bytes:
    picture(folder / "made.png", number)
    content = (folder / "made.png").read_bytes()
    (folder / "made.png").unlink()
    return content


def lines(path: Path, *rows: Any, end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(json.dumps(row) + end for row in rows).encode())
    return path


def read(spec: str | Path, **options: Any) -> list[Sample]:
    return list(load(str(spec), **options))
