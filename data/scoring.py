"""Each data set's own metric: ``METRICS[name](prediction, references) -> score in [0, 1]``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Metric = Callable[[str, Sequence[str]], float]


class ScoringError(ValueError):
    """An unknown metric, or references that a metric cannot use."""


def exact_match(prediction: str, references: Sequence[str]) -> float:
    """1 when the prediction is one of the references, character for character (lmms-eval's exact_match)."""
    return float(prediction in _some(references))


def answer_match(prediction: str, references: Sequence[str]) -> float:
    """1 when equal to a reference but for case, outer white space and one trailing full stop (our own)."""
    return float(_plain(prediction) in {_plain(r) for r in _some(references)})


def _plain(text: str) -> str:
    return text.lower().strip().removesuffix(".").rstrip()


def _some(references: Sequence[str]) -> Sequence[str]:
    if not references:
        raise ScoringError("There is no reference to score the prediction against.")
    return references


METRICS: dict[str, Metric] = {
    "exact_match": exact_match,
    "answer_match": answer_match,
}


def metric(name: str) -> Metric:
    """The metric called ``name``; raises `ScoringError` naming the known ones."""
    if name not in METRICS:
        raise ScoringError(f"Metric {name!r} is not known. Known: {', '.join(sorted(METRICS))}.")
    return METRICS[name]
