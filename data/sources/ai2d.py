"""AI2D: ``ai2d:test`` (or train), or the folder that has ``questions/`` (all of them).

Format: the README of ai2d-all.zip (prior.allenai.org/projects/diagram-understanding) and arXiv
1603.07396: ``questions/0.png.json`` holds imageName and questions, an object from the question to
questionId, answerTexts, correctAnswer (a place, from 0), abcLabel; images are ``images/0.png``;
``categories.json`` gives each image a category; ``ai2d_test_ids.csv``, published beside it, has the names
of the test images, without ``.png``. Where abcLabel is true the answers are letters drawn over the
labels: such questions need ``abc_images/``, and are left out and counted without it. Written from that
description and tried on made examples only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.records import Sample
from data.sources.files import ImageFile, Row, SourceError, decoded, open_text, read_json
from data.sources.options import by_place
from data.sources.prompts import OPTION_LETTER, asked
from data.sources.skipped import Skipped

_HOME = "prior.allenai.org/projects/diagram-understanding (ai2d-all.zip)"
_TEST_IDS = "ai2d_test_ids.csv"


def read(where: str, data_dir: Path | None, skipped: Skipped) -> Iterator[Sample]:
    home, split = _home(where, data_dir), "" if Path(where).is_dir() else where
    test = _test_ids(home, split) if split else set()
    categories = read_json(home / "categories.json") if (home / "categories.json").is_file() else {}
    letters, seen = (home / "abc_images").is_dir(), dict[str, int]()
    for path in sorted((home / "questions").glob("*.json"), key=lambda p: (len(p.name), p.name)):
        content = read_json(path)
        file = Row(content if isinstance(content, dict) else {}, str(path))
        image = file.text("imageName")
        if split and (Path(image).stem in test) != (split == "test"):
            continue
        for question, row in _questions(file):
            choices, labelled = row.texts("answerTexts"), bool(row.values.get("abcLabel"))
            if labelled and not letters:
                skipped.add("want of abc_images, where letters are drawn over the labels", row.where)
                continue
            sample_id = f"ai2d/{row.text('questionId')}"
            if skipped.repeats(seen, sample_id, row.where):
                continue
            folder = "abc_images" if labelled else "images"
            yield Sample(
                sample_id=sample_id,
                image_id=f"ai2d/{folder}/{image}",
                open_image=ImageFile(home / folder / image),
                question=asked(OPTION_LETTER, question, choices),
                answers=by_place(row, "correctAnswer", choices),
                metric="ai2d_lmms",
                dataset="ai2d",
                split=split,
                family=str(categories.get(image, "")) if isinstance(categories, dict) else "",
                kind="letters" if labelled else "texts",
                prompt=OPTION_LETTER,
            )


def _home(where: str, data_dir: Path | None) -> Path:
    if not Path(where).is_dir() and where not in ("test", "train"):
        raise SourceError(f"ai2d: {where!r} is neither a folder nor one of test, train.")
    if Path(where).is_dir():
        home = Path(where)
    elif data_dir is None:
        raise SourceError(
            f"ai2d: give the folder that has questions/, or set M3_DATA_DIR to the one that has "
            f"ai2d/questions (from {_HOME})."
        )
    else:
        home = data_dir / "ai2d"
    if not (home / "questions").is_dir():
        raise SourceError(f"ai2d: {home / 'questions'} is missing. It comes from {_HOME}.")
    return home


def _test_ids(home: Path, split: str) -> set[str]:
    path = home / _TEST_IDS
    if not path.is_file():
        raise SourceError(
            f"ai2d: {path} is missing: it says which images are for {split}. It comes from {_HOME}."
        )
    with open_text(path) as file:
        return {line.strip() for line in decoded(file, path) if line.strip()}


def _questions(file: Row) -> Iterator[tuple[str, Row]]:
    questions = file.values.get("questions")
    if not isinstance(questions, dict):
        raise SourceError(f"{file.where} has no questions; it has {', '.join(file.values) or 'nothing'}.")
    for question, values in questions.items():
        if not isinstance(values, dict):
            raise SourceError(f"{file.where}, {question!r} is {values!r}, not an object.")
        yield question, Row(values, f"{file.where}, {question!r}")
