"""ScaleBench, this project's generator: ``scalebench:SPLIT``. Nothing is read from disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from data.records import Sample
from data.sources.skipped import Skipped
from data.splits import check_split


def read(where: str, data_dir: Path | None, skipped: Skipped) -> Iterable[Sample]:
    """Samples of one split, in the generator's order."""
    check_split(where)
    from data import scalebench

    samples: Iterable[Sample] = scalebench.samples(where)
    return samples
