"""The training pictures, drawn once: pixels and labels as memory maps, texts as JSON lines."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.scalebench import LABELS, picture
from m3_backbone.preprocess import pad_to_square, resize_and_crop
from training.backbone.recipe import GRID, PREPROCESSOR, SIZE, Recipe

log = logging.getLogger(__name__)
_CHUNK = 100


@dataclass(frozen=True)
class PictureStore:
    """``pixels`` uint8 [N, 336, 336, 3]; ``labels`` head -> int16 [N, 24, 24]; ``texts`` [N]: family,
    questions (text, answer, kind), descriptions (prompt, text) and look_ups (key, value)."""

    pixels: NDArray[np.uint8]
    labels: Mapping[str, NDArray[np.int16]]
    texts: tuple[dict[str, Any], ...]

    def __len__(self) -> int:
        return len(self.texts)

    @classmethod
    def open(cls, folder: Path) -> PictureStore:
        """Maps what `render_pictures` left; raises FileNotFoundError before it is complete."""
        if not (folder / "pictures.done").exists():
            raise FileNotFoundError(f"{folder} holds no pictures: run the stage 'pictures' first.")
        lines = (folder / "texts.jsonl").read_text(encoding="utf-8").splitlines()
        return cls(
            np.load(folder / "pixels.npy", mmap_mode="r"),
            {head: np.load(folder / f"label-{head}.npy", mmap_mode="r") for head in LABELS},
            tuple(json.loads(line) for line in lines),
        )


def squared(image: Image.Image) -> NDArray[np.uint8]:
    """Padded to a square and resized to 336: the 8-bit part of what inference does."""
    red, green, blue = PREPROCESSOR["image_mean"]
    return np.asarray(resize_and_crop(pad_to_square(image, (red, green, blue)), SIZE))


def _draw(job: tuple[str, int, int]) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.int16]], list[str]]:
    split, start, stop = job
    drawn = [picture(split, index) for index in range(start, stop)]
    texts = [
        json.dumps(
            {
                "family": one.family,
                "questions": [(q.text, q.answer, q.kind) for q in one.questions],
                "descriptions": [(d.prompt, d.text) for d in one.descriptions],
                "look_ups": [(found.key, found.value) for found in one.look_ups],
            }
        )
        for one in drawn
    ]
    labels = {head: np.stack([one.labels[head] for one in drawn]) for head in LABELS}
    return np.stack([squared(one.image) for one in drawn]), labels, texts


def render_pictures(folder: Path, split: str, count: int, recipe: Recipe, *, first: int = 0) -> None:
    """Draws ``count`` pictures of ``split``, from number ``first`` on, unless ``folder`` has some already."""
    done = folder / "pictures.done"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    create = np.lib.format.open_memmap
    pixels = create(folder / "pixels.npy", "w+", np.uint8, (count, SIZE, SIZE, 3))
    labels = {
        head: create(folder / f"label-{head}.npy", "w+", np.int16, (count, GRID, GRID)) for head in LABELS
    }
    rows = [(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
    jobs = [(split, first + start, first + stop) for start, stop in rows]
    with (
        ProcessPoolExecutor(recipe.workers, mp_context=get_context("spawn")) as pool,
        (folder / "texts.jsonl").open("w", encoding="utf-8") as texts,
    ):
        for (start, stop), (drawn, marks, lines) in zip(rows, pool.map(_draw, jobs), strict=True):
            pixels[start:stop] = drawn
            for head, values in marks.items():
                labels[head][start:stop] = values
            texts.write("\n".join(lines) + "\n")
            if start % (20 * _CHUNK) == 0:
                log.info("%s: %d of %d pictures drawn", split, stop, count)
    pixels.flush()
    for array in labels.values():
        array.flush()
    done.write_text("")
