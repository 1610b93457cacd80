"""ScienceQA: ``scienceqa:test`` (or train, val, minitest, ...), or the file ``problems.json`` with all of
them.

Format: github.com/lupantech/ScienceQA, data/scienceqa: ``problems.json`` is an object from id to
question, choices, answer (a place, from 0), hint, image (a file's name, or null), subject, topic, split;
``pid_splits.json`` beside it has the ids of every split; images are ``images/SPLIT/ID/image.png``.
Questions without an image are left out and counted. Written from that description and tried on made
examples only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.records import Sample
from data.sources.files import ImageFile, SourceError, locate, named_rows, read_json
from data.sources.options import by_place
from data.sources.prompts import OPTION_LETTER, asked
from data.sources.skipped import Skipped

_HOME = "github.com/lupantech/ScienceQA, data/scienceqa"


def read(where: str, data_dir: Path | None, skipped: Skipped) -> Iterator[Sample]:
    path = locate(where, data_dir, "scienceqa", "problems.json", _HOME)
    wanted = None if Path(where).is_file() else _ids(path.with_name("pid_splits.json"), where)
    for name, row in named_rows(path):
        if wanted is not None and name not in wanted:
            continue
        if not row.values.get("image"):
            skipped.add("no image", row.where)
            continue
        image, split = row.text("image"), row.text("split")
        choices = row.texts("choices")
        hint = row.text("hint") if row.values.get("hint") else ""
        prompt = "scienceqa" if hint else OPTION_LETTER
        yield Sample(
            sample_id=f"scienceqa/{name}",
            image_id=f"scienceqa/{name}/{image}",
            open_image=ImageFile(path.parent / "images" / split / name / image),
            question=asked(prompt, row.text("question"), choices, hint),
            answers=by_place(row, "answer", choices),
            metric="scienceqa_lmms",
            dataset="scienceqa",
            split=split,
            family=row.text("subject"),
            kind=row.text("topic"),
            prompt=prompt,
        )


def _ids(path: Path, split: str) -> set[str]:
    if not path.is_file():
        raise SourceError(f"scienceqa: {path} is missing. It comes from {_HOME}.")
    splits = read_json(path)
    if not isinstance(splits, dict) or not isinstance(splits.get(split), list):
        found = ", ".join(splits) if isinstance(splits, dict) else "none"
        raise SourceError(f"{path} has no split {split!r}; its splits are: {found}.")
    return {str(name) for name in splits[split]}
