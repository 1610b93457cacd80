"""Pictures to try things on: generated ones, or the image files of a folder."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL import Image, ImageDraw

from router.errors import InvalidRequest

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif"})
_COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "black", "white")


def generated(n: int, seed: int = 0) -> list[bytes]:
    """``n`` PNG files of 336 x 336 pixels with a few shapes each, the same for the same seed."""
    random = np.random.default_rng(seed)
    files = []
    for _ in range(n):
        picture = Image.new("RGB", (336, 336), str(random.choice(_COLOURS)))
        pen = ImageDraw.Draw(picture)
        for _ in range(int(random.integers(1, 6))):
            x, y, size = (int(v) for v in random.integers((0, 0, 24), (240, 240, 96)))
            draw = pen.ellipse if random.random() < 0.5 else pen.rectangle
            draw((x, y, x + size, y + size), fill=str(random.choice(_COLOURS)))
        file = BytesIO()
        picture.save(file, format="PNG")
        files.append(file.getvalue())
    return files


def from_folder(folder: Path) -> list[bytes]:
    """The image files of ``folder``, by name. Raises `InvalidRequest` when there are none."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
        files = [path.read_bytes() for path in paths]
    except OSError as error:
        _refuse(folder, error.strerror or "it cannot be read")
    if not files:
        _refuse(folder, "it holds no JPEG, PNG, WEBP or GIF file")
    return files


def _refuse(folder: Path, why: str) -> NoReturn:
    raise InvalidRequest(f"--images has value '{folder}'. No picture can be read: {why}.", code="no_pictures")
