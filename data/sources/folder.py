"""A folder of images: ``folder:FOLDER`` with metadata.jsonl or metadata.csv, or with one folder per class.

Format: huggingface.co/docs/datasets/image_dataset (ImageFolder): each row of the metadata names a picture
under ``file_name``; the other columns are those of `data.sources.generic`. Without metadata a picture's
folder is its class, and the question is `QUESTION`. Files that are no pictures are left out and counted.
Tried on made examples only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.records import Sample
from data.sources.files import ImageFile, SourceError, jsonl_rows
from data.sources.generic import DEFAULT_METRIC, beside, samples, table_rows
from data.sources.parquet import placed
from data.sources.prompts import SHORT_ANSWER, asked
from data.sources.skipped import Skipped

QUESTION = "What is shown in the image?"
METADATA = ("metadata.jsonl", "metadata.csv")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif")


def read(where: str, data_dir: Path | None, skipped: Skipped) -> Iterator[Sample]:
    folder = placed(where, data_dir)
    if not folder.is_dir():
        raise SourceError(f"folder: {folder} is not a folder.")
    lines, table = (folder / name for name in METADATA)
    if lines.is_file() or table.is_file():
        rows = jsonl_rows(lines) if lines.is_file() else table_rows(table, "file_name")
        return samples(folder.name, rows, beside(folder, "file_name"), skipped)
    if splits := _splits(folder):
        named = ", ".join(f"folder:{folder / split}" for split in splits)
        raise SourceError(f"{folder} has several splits. Name one: {named}.")
    if not any(child.is_dir() for child in folder.iterdir()):
        raise SourceError(
            f"{folder} has neither metadata.jsonl nor metadata.csv (file_name, question, answers), nor one "
            "folder per class."
        )
    return _classes(folder, skipped)


def _splits(folder: Path) -> list[str]:
    """Names of the folders in ``folder`` that have metadata of their own: those are no classes."""
    tables = (path for name in METADATA for path in folder.glob(f"*/{name}"))
    return sorted({path.parent.name for path in tables})


def _classes(folder: Path, skipped: Skipped) -> Iterator[Sample]:
    for home in sorted(child for child in folder.iterdir() if child.is_dir()):
        for path in sorted(child for child in home.rglob("*") if child.is_file()):
            if path.suffix.lower() not in SUFFIXES:
                skipped.add("a file that is no picture", str(path))
                continue
            name = str(path.relative_to(folder))
            yield Sample(
                sample_id=f"{folder.name}/{name}",
                image_id=f"{folder.name}/{name}",
                open_image=ImageFile(path),
                question=asked(SHORT_ANSWER, QUESTION),
                answers=(home.name.replace("_", " "),),
                metric=DEFAULT_METRIC,
                dataset=folder.name,
                split="",
                family=home.name,
                prompt=SHORT_ANSWER,
            )
