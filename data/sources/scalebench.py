"""ScaleBench, this project's generator: ``scalebench:SPLIT``. Nothing is read from disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from data.records import Sample
from data.sources.skipped import Skipped
from data.splits import SplitError


def read(where: str, data_dir: Path | None, skipped: Skipped) -> Iterable[Sample]:
    """Samples of one split, in the generator's order: the usual splits, ``dev+1``, ``shift-fonts``, ..."""
    from data import scalebench

    if where not in scalebench.PLANS:
        raise SplitError(f"Split {where!r} does not exist. Splits: {', '.join(scalebench.PLANS)}.")
    samples: Iterable[Sample] = scalebench.samples(where)
    return samples
