"""Answer files without references: what a data set's reader knows about the same questions.

LLaVA's answer files (`llava/eval/model_vqa_loader.py`) have question_id, prompt and text, and no more. An id
alone is not trusted: LLaVA numbers POPE's questions anew, and calls TextVQA's by their image
(`llava/eval/eval_textvqa.py`). The question's wording has to fit as well, and where LLaVA's question file is
given (`llava/eval/eval_pope.py` reads it too) the image.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from data.records import Sample
from data.sources.files import SourceError, jsonl_rows

_OCR = "Reference OCR token:"


@dataclass(frozen=True, slots=True)
class Asked:
    """A row of LLaVA's question file."""

    image: str
    category: str


@dataclass(slots=True)
class References:
    """The samples of a data set, to be found by what an answer file says of them.

    questions: LLaVA's question file, by question_id. category: of it, the only one to be imported.
    """

    by_id: dict[str, list[Sample]] = field(default_factory=dict)
    by_image: dict[str, list[Sample]] = field(default_factory=dict)
    questions: dict[str, Asked] = field(default_factory=dict)
    category: str = ""
    found: set[str] = field(default_factory=set)
    total: int = 0

    @classmethod
    def of(cls, samples: Iterable[Sample], questions: Path | None = None, category: str = "") -> References:
        """Raises `SourceError` for a question file that cannot be read, and a category without one."""
        if category and questions is None:
            raise SourceError(
                f"Category {category!r} is named in LLaVA's question file, not in answers: give --questions."
            )
        known = cls(questions={} if questions is None else read_questions(questions), category=category)
        if category and category not in {asked.category for asked in known.questions.values()}:
            there = ", ".join(sorted({asked.category for asked in known.questions.values()} - {""}))
            raise SourceError(
                f"{questions} has no category {category!r}; its categories are: {there or 'none'}."
            )
        for sample in samples:
            known.total += 1
            known.by_id.setdefault(sample.sample_id.rpartition("/")[2], []).append(sample)
            known.by_image.setdefault(_stem(sample.image_id), []).append(sample)
        return known

    def wanted(self, question_id: str) -> bool:
        """Whether the category that was asked for has this question."""
        asked = self.questions.get(question_id)
        return not self.category or (asked is not None and asked.category == self.category)

    def find(self, question_id: str, prompt: str, where: str) -> Sample:
        """The sample that was answered; raises `SourceError` naming ``where`` unless there is one."""
        if self.questions:
            if question_id not in self.questions:
                raise SourceError(f"{where}: question {question_id!r} is not in the question file.")
            near = self.by_image.get(_stem(self.questions[question_id].image), [])
        else:
            near = self.by_id.get(question_id) or self.by_image.get(_stem(question_id), [])
        fitting = [sample for sample in near if same_question(sample.question, prompt)]
        if len(fitting) == 1:
            self.found.add(fitting[0].sample_id)
            return fitting[0]
        why = (
            f"fits {len(fitting)} samples of the data set"
            if fitting
            else f"is asked differently there: {near[0].question!r}"
            if near
            else "is not in the data set"
        )
        raise SourceError(
            f"{where}: question {question_id!r}, {prompt!r}, {why}. Check --references; where LLaVA has ids "
            "of its own (POPE), give its question file: --questions."
        )


def read_questions(path: Path) -> dict[str, Asked]:
    """LLaVA's question file: JSON lines of question_id, image, text, and in POPE's a category."""
    asked: dict[str, Asked] = {}
    for row in jsonl_rows(path):
        question_id = row.text("question_id")
        if question_id in asked:
            raise SourceError(f"{row.where}: question {question_id!r} comes twice.")
        category = row.text("category") if row.values.get("category") else ""
        asked[question_id] = Asked(row.text("image"), category)
    return asked


def same_question(sample: str, prompt: str) -> bool:
    """Whether two prompts ask the same, whatever format instructions are around the question."""
    a, b = _flat(sample), _flat(prompt)
    asked, known = _flat(question_of(prompt)), _flat(question_of(sample))
    return (bool(asked) and asked in a) or (bool(known) and known in b)  # nothing is part of every text


def question_of(prompt: str) -> str:
    """The line with the question, as LLaVA's ``prompt_processor`` finds it for TextVQA."""
    if (found := re.search(r"^OCR tokens: .*Question: (.*?) Short answer:", prompt, re.DOTALL)) is not None:
        return found[1]
    lines = [line for line in prompt.removeprefix("<image>").strip().splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith(_OCR)), "")


def _flat(text: str) -> str:
    return " ".join(text.lower().split())


def _stem(name: str) -> str:
    """ "pope/COCO_val2014_000000310196.jpg" -> "COCO_val2014_000000310196"."""
    return PurePosixPath(name).stem
