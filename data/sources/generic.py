"""Anyone's data: JSON lines or CSV with image, question, answers, and if wanted id, group, choices, metric.

image: path, relative to the file's folder. question: asked exactly as it stands, unless there are choices.
answers: a list, or one text; in CSV a JSON list or one text. choices: a list (in CSV a JSON list); the answer
is then the letter or the text of one of them, and the question is asked with lettered options. group: becomes
the family in reports. metric: a name in `data.scoring.METRICS`, default ``answer_match``, with choices
``mmmu_parse_mc``. id: without one, samples are called #1, #2, ... image_id: where several rows share an image
that has no path of its own.
"""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from data.records import ImageSource, Sample
from data.scoring import ScoringError, metric
from data.sources.files import ImageFile, Row, SourceError, csv_rows, jsonl_rows
from data.sources.prompts import AS_WRITTEN, OPTION_LETTER, asked
from data.sources.skipped import Skipped

DEFAULT_METRIC = "answer_match"
CHOICE_METRIC = "mmmu_parse_mc"

Opener = Callable[[Row], tuple[str, ImageSource]]
"""A row -> (name of its image within the data set, what opens it)."""


def read_jsonl(where: str, data_dir: Path | None, skipped: Skipped) -> Iterator[Sample]:
    path = Path(where)
    return samples(path.stem, jsonl_rows(path), beside(path.parent), skipped)


def read_csv(where: str, data_dir: Path | None, skipped: Skipped) -> Iterator[Sample]:
    path = Path(where)
    return samples(path.stem, table_rows(path), beside(path.parent), skipped)


def table_rows(path: Path, image: str = "image") -> Iterator[Row]:
    """Rows of a CSV file; ``image`` is the column with the image's path."""
    for row in csv_rows(path, needed=(image, "question", "answers")):
        lists = {"answers": _listed("answers", row)}
        if row.values.get("choices"):
            lists["choices"] = _listed("choices", row)
        yield Row({**row.values, **lists}, row.where)


def _listed(name: str, row: Row) -> object:
    text = str(row.values[name])
    if not text.lstrip().startswith("["):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise SourceError(f"{row.where}: {name} starts like a JSON list but is none: {text!r}.") from None


def beside(folder: Path, name: str = "image") -> Opener:
    """Images are files in ``folder``, by the path under ``name``."""

    def opener(row: Row) -> tuple[str, ImageSource]:
        image = row.text(name)
        if not image.strip():
            raise SourceError(f"{row.where}: {name} is empty.")
        return image, ImageFile(folder / image)

    return opener


def samples(dataset: str, rows: Iterable[Row], opener: Opener, skipped: Skipped) -> Iterator[Sample]:
    """Generic rows as samples of the data set called ``dataset``."""
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        image, open_image = opener(row)
        question = row.text("question")
        if not question.strip():
            raise SourceError(f"{row.where}: the question is empty.")
        answers = row.texts("answers")
        choices = row.texts("choices") if row.values.get("choices") else ()
        if choices:
            answers = (_letter(answers, choices, row.where), *choices)
        name = row.text("id") if row.values.get("id") not in (None, "") else f"#{number}"
        if skipped.repeats(seen, f"{dataset}/{name}", row.where):
            continue
        prompt = OPTION_LETTER if choices else AS_WRITTEN
        yield Sample(
            sample_id=f"{dataset}/{name}",
            image_id=f"{dataset}/{image}",
            open_image=open_image,
            question=asked(prompt, question, choices),
            answers=answers,
            metric=named_metric(row, CHOICE_METRIC if choices else DEFAULT_METRIC),
            dataset=dataset,
            split="",
            family=row.text("group") if row.values.get("group") not in (None, "") else "",
            prompt=prompt,
        )


def named_metric(row: Row, default: str = DEFAULT_METRIC) -> str:
    """The metric that the row names, else ``default``; raises `SourceError` for one that is not known."""
    name = row.text("metric") if row.values.get("metric") else default
    try:
        metric(name)
    except ScoringError as error:
        raise SourceError(f"{row.where}: {error}") from None
    return name


def _letter(answers: tuple[str, ...], choices: tuple[str, ...], where: str) -> str:
    """The letter of the one choice that the one answer can mean, by its letter or its text."""
    letters = string.ascii_uppercase[: len(choices)]
    if len(choices) > len(string.ascii_uppercase):
        raise SourceError(f"{where}: {len(choices)} choices; there are letters for 26.")
    meant = {letter for letter, choice in zip(letters, choices, strict=True) if answers == (choice,)}
    if len(answers) == 1:
        meant |= {answers[0]} & set(letters)
    if len(meant) == 1:
        return meant.pop()
    raise SourceError(
        f"{where}: answers is {list(answers)}; with choices it is one letter up to {letters[-1:]}, or one of "
        f"{list(choices)}, and it may mean one of them only."
    )
