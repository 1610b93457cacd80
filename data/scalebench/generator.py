"""From (split, index) to a picture, and from a split to samples."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image

from data.records import Sample
from data.scalebench.families import family
from data.scalebench.families.paint import CHOICE
from data.scalebench.finishes import FINISHES
from data.scalebench.picture import Description, Picture, Question
from data.scalebench.plans import PLANS
from data.scalebench.scans import rows, scans
from data.scalebench.vocabulary import COLOURS, KINDS, NUMBERS, PLACES, WORDS

QUESTIONS_PER_IMAGE = 4
"""Of `dev`."""


def picture(split: str, index: int) -> Picture:
    """The ``index``-th picture of ``split``; raises `ValueError` for an unknown split or index."""
    if split not in PLANS:
        raise ValueError(f"ScaleBench has no split {split!r}. Splits: {', '.join(PLANS)}.")
    plan = PLANS[split]
    if not 0 <= index < plan.images:
        raise ValueError(f"{split} holds pictures 0 to {plan.images - 1}, not {index}.")
    original = plan.replica_of or split
    rng = _seeded(plan.edition, original, index)
    name = rng.choice(plan.families)
    painting = family(name).paint(rng, plan.style)
    questions = painting.questions
    if plan.questions:
        questions = _some(rng, questions, family(name).ASKED, rng.randint(*plan.questions))
    else:
        rng.shuffle(questions)
    image = painting.canvas.finished()
    if plan.finish:
        moves = [f"{one}/{plan.finish}" for one in (split, *_earlier(split))]
        seeded = [_seeded(plan.edition, move, index) for move in moves]
        image = FINISHES[plan.finish](image, *seeded)
    canvas, told = painting.canvas, painting.descriptions
    return Picture(
        image=image,
        image_id=f"{original}-{index:06d}",
        family=name,
        questions=tuple(questions),
        look_ups=tuple(painting.look_ups),
        describe=lambda: (*told, *scans(canvas.regions), *rows(canvas.regions, 6)),
        paint_labels=canvas.labels,
    )


def _earlier(split: str) -> list[str]:
    """Replicates of the same split before this one: of "dev+3" "dev+1" and "dev+2"."""
    original, _, number = split.partition("+")
    return [f"{original}+{k}" for k in range(1, int(number or 1))]


def _some(
    rng: random.Random, questions: Sequence[Question], asked: Mapping[str, float], count: int
) -> list[Question]:
    """``count`` questions, drawn one after the other with the weights that ``asked`` gives their kinds.

    By the keys of Efraimidis and Spirakis, Weighted random sampling with a reservoir (2006).
    """
    weights = [asked.get(question.kind.removesuffix(CHOICE), 1.0) for question in questions]
    keys = [rng.random() ** (1 / weight) for weight in weights]
    first = sorted(range(len(questions)), key=lambda k: -keys[k])[:count]
    return [questions[k] for k in first]


def _seeded(edition: str, name: str, index: int) -> random.Random:
    return random.Random(hashlib.sha256(f"{edition}/{name}/{index}".encode()).digest())


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
    """The samples of ``split`` in order, those of one image next to each other; at most ``limit`` of them.

    A replicate has the ids of the samples that it repeats.
    """
    made = 0
    for index in range(PLANS[split].images if split in PLANS else 1):
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
    """Lines that a tokenizer should cover: every word of the closed world, and real questions and answers.

    Questions stand as a prompt has them: "ASSISTANT:" is in every one, and should not be ten pieces.
    """
    for _ in range(20):
        yield " ".join((*WORDS, *COLOURS, *KINDS, *PLACES, "yes no - , : USER: ASSISTANT:"))
    yield " ".join(str(n) for n in NUMBERS)
    for index in range(1_500):
        drawn = picture("backbone-train", index)
        lines: list[Question | Description] = [*drawn.questions, *drawn.descriptions]
        for line in lines:
            if isinstance(line, Question):
                yield f"USER: {line.text} ASSISTANT: {line.answer}"
            else:
                yield f"{line.prompt} {line.text}"
