"""From (split, index) to a picture, and from a split to samples."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image

from data.records import Sample
from data.scalebench.families import FAMILIES
from data.scalebench.picture import Description, Picture, Question
from data.scalebench.vocabulary import COLOURS, KINDS, NUMBERS, PLACES, WORDS

EDITION = "scalebench-1"
QUESTIONS_PER_IMAGE = 4
SPLIT_IMAGES = {
    "backbone-train": 1_000_000,  # as many as wanted
    "backbone-val": 500,
    "router-train": 5_200,
    "dev": 1_250,
    "tune": 1_250,
    "certify": 1_250,
    "test": 1_250,
}
"""Images of every split. All but backbone-train ask `QUESTIONS_PER_IMAGE` questions about each."""


def picture(split: str, index: int) -> Picture:
    """The ``index``-th picture of ``split``; raises `ValueError` for an unknown split or index."""
    if split not in SPLIT_IMAGES:
        raise ValueError(f"ScaleBench has no split {split!r}. Splits: {', '.join(SPLIT_IMAGES)}.")
    if not 0 <= index < SPLIT_IMAGES[split]:
        raise ValueError(f"{split} holds pictures 0 to {SPLIT_IMAGES[split] - 1}, not {index}.")
    seed = hashlib.sha256(f"{EDITION}/{split}/{index}".encode()).digest()
    rng = random.Random(seed)
    family = rng.choice(list(FAMILIES))
    painting = FAMILIES[family](rng)
    questions = painting.questions
    rng.shuffle(questions)
    if split != "backbone-train":
        questions = questions[:QUESTIONS_PER_IMAGE]
    return Picture(
        image=painting.canvas.image,
        image_id=f"{split}-{index:06d}",
        family=family,
        questions=tuple(questions),
        descriptions=(*painting.descriptions, *painting.canvas.scans(), *painting.canvas.rows(6)),
        look_ups=tuple(painting.look_ups),
        labels=painting.canvas.labels(),
    )


@lru_cache(maxsize=4)
def _recent(split: str, index: int) -> Image.Image:
    return picture(split, index).image


@dataclass(frozen=True, slots=True)
class _Opener:
    """Draws the picture when it is opened; picklable, so that another process can do it."""

    split: str
    index: int

    def __call__(self) -> Image.Image:
        return _recent(self.split, self.index)


def samples(split: str, limit: int | None = None) -> Iterator[Sample]:
    """The samples of ``split`` in order, those of one image next to each other; at most ``limit`` of them."""
    made = 0
    for index in range(SPLIT_IMAGES.get(split, 1)):
        drawn = picture(split, index)
        for number, question in enumerate(drawn.questions):
            if limit is not None and made >= limit:
                return
            made += 1
            yield Sample(
                sample_id=f"{drawn.image_id}-{number}",
                image_id=drawn.image_id,
                open_image=_Opener(split, index),
                question=question.text,
                answers=(question.answer,),
                metric="exact_match",
                dataset="scalebench",
                split=split,
                family=drawn.family,
                kind=question.kind,
                difficulty=question.difficulty,
            )


def corpus() -> Iterator[str]:
    """Lines that a tokenizer should cover: every word of the closed world, and real questions and answers."""
    for _ in range(20):
        yield " ".join((*WORDS, *COLOURS, *KINDS, *PLACES, "yes no - , : USER: ASSISTANT:"))
    yield " ".join(str(n) for n in NUMBERS)
    for index in range(1_500):
        drawn = picture("backbone-train", index)
        lines: list[Question | Description] = [*drawn.questions, *drawn.descriptions]
        for line in lines:
            if isinstance(line, Question):
                yield f"{line.text} {line.answer}"
            else:
                yield f"{line.prompt} {line.text}"
