"""Readers of data sets: one file per official format, one for generic files. ``load(spec)`` finds the reader.

- ``scalebench:SPLIT``: the generator of this project;
- ``jsonl:FILE``, ``csv:FILE``, ``parquet:FILE``, or a path ending so: generic rows (`data.sources.generic`);
- ``folder:FOLDER``: images, with metadata.jsonl or metadata.csv, or one folder per class;
- ``hf:FOLDER``: a Hugging Face data set saved with ``save_to_disk``; ``hf:OWNER/NAME/SPLIT``: one of the hub;
- ``llava:FILE``: a question file of LLaVA's evaluation;
- ``pope:WHERE`` and the other names in `READERS`: official files, WHERE being one of them or a split.

``@SPLIT`` at the end (``jsonl:mine.jsonl@dev``) keeps the images that `data.splits` puts in that split.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from data.records import Sample
from data.sources.files import SourceError
from data.sources.skipped import Skipped

__all__ = ["READERS", "Skipped", "SourceError", "load"]

Reader = Callable[[str, Path | None, Skipped], Iterable[Sample]]
"""(what follows the colon, folder of the data sets, what counts the rows left out) -> samples, streamed."""

READERS = {
    "scalebench": "data.sources.scalebench:read",
    "jsonl": "data.sources.generic:read_jsonl",
    "csv": "data.sources.generic:read_csv",
    "pope": "data.sources.pope:read",
    "chartqa": "data.sources.chartqa:read",
    "textvqa": "data.sources.textvqa:read",
    "docvqa": "data.sources.docvqa:read",
    "vqav2": "data.sources.vqav2:read",
    "gqa": "data.sources.gqa:read",
    "vizwiz": "data.sources.vizwiz:read",
    "scienceqa": "data.sources.scienceqa:read",
    "ai2d": "data.sources.ai2d:read",
    "mmbench": "data.sources.mmbench:read",
    "mmmu": "data.sources.mmmu:read",
    "seedbench": "data.sources.seedbench:read",
    "mathvision": "data.sources.mathvision:read",
    "llava": "data.sources.llava:read",
    "parquet": "data.sources.parquet:read",
    "folder": "data.sources.folder:read",
    "hf": "data.sources.hf:read",
}

_SUFFIXES = {".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}


def load(
    spec: str, data_dir: Path | None = None, limit: int | None = None, skipped: Skipped | None = None
) -> Iterator[Sample]:
    """The samples that ``spec`` names, at most ``limit``, streamed.

    data_dir: where data sets lie that are named by split (setting ``M3_DATA_DIR``).
    skipped: counts the rows that the reader leaves out, as far as it was read.
    Raises `SourceError` for an unknown reader or missing files, saying what is expected where, and for a data
    set without any samples.
    """
    if limit is not None and limit < 1:
        raise SourceError(f"The limit must be at least 1, got {limit}.")
    name, rest, split = _parse(spec)
    module, function = READERS[name].split(":")
    reader: Reader = getattr(importlib.import_module(module), function)
    left_out = Skipped() if skipped is None else skipped
    samples = iter(reader(rest, data_dir, left_out))
    if split:
        samples = _only(samples, split, spec)
    return islice(_some(samples, spec, left_out), limit)


def _parse(spec: str) -> tuple[str, str, str]:
    """(reader, what it reads, split by content or '')."""
    body, at, split = spec.rpartition("@")
    if not at or "/" in split or "." in split:
        body, split = spec, ""
    name, colon, rest = body.partition(":")
    if colon and name in READERS and rest:
        return name, rest, split
    suffix = Path(body).suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix], body, split
    raise SourceError(
        f"Data set {spec!r} is not known. Give NAME:SPLIT or NAME:FILE with NAME one of "
        f"{', '.join(READERS)}, or a path ending in {', '.join(_SUFFIXES)}."
    )


def _some(samples: Iterator[Sample], spec: str, skipped: Skipped) -> Iterator[Sample]:
    """The same; raises `SourceError` where there is none."""
    empty = True
    for sample in samples:
        empty = False
        yield sample
    if empty:
        raise SourceError(" ".join([f"{spec} has no samples.", *skipped.sentences()]))


def _only(samples: Iterator[Sample], split: str, spec: str) -> Iterator[Sample]:
    """Those of ``split``; raises `SourceError` where all samples are of others, saying how many of which."""
    from data.splits import assign, check_split

    check_split(split)
    return _those(assign(samples), split, spec)


def _those(samples: Iterator[Sample], split: str, spec: str) -> Iterator[Sample]:
    others: Counter[str] = Counter()
    empty = True
    for sample in samples:
        if sample.split == split:
            empty = False
            yield sample
        else:
            others[sample.split] += 1
    if empty and others:
        found = ", ".join(f"{name} {n}" for name, n in sorted(others.items()))
        raise SourceError(
            f"{spec} has no samples: images are shared out by their content, and all "
            f"{others.total()} questions are of other splits ({found}). More images are needed."
        )
