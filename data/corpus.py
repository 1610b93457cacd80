"""Figures over a whole corpus, as the official evaluators give them: POPE's F1, MME's sums.

A score per sample (`data.scoring`) cannot make them: F1 needs all answers at once, and MME wants both
questions about an image to be right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from data import yes_no
from data.scoring import ScoringError

_SEEN = ["existence", "count", "position", "color", "posters"]
_KNOWN = ["celebrity", "scene", "landmark", "artwork", "OCR"]
PERCEPTION = frozenset([*_SEEN, *_KNOWN])
"""MME's categories of perception; its other four are of cognition."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer. category: the data set's own part (MME); image: which picture it is about."""

    prediction: str
    reference: str
    category: str = ""
    image: str = ""


Figures = dict[str, float]


def pope_llava(answers: Sequence[Answered]) -> Figures:
    """LLaVA's eval_pope.py: every answer counts as yes or no, and so does every label."""
    said = [yes_no.pope_llava(a.prediction) == "yes" for a in answers]
    true = [a.reference != "no" for a in answers]
    hits = sum(s and t for s, t in zip(said, true, strict=True))
    return {
        "accuracy": _share(sum(s == t for s, t in zip(said, true, strict=True)), len(answers)),
        **_f1(hits, wrong=sum(said) - hits, missed=sum(true) - hits),
        "yes_ratio": _share(sum(said), len(answers)),
    }


def pope_lmms(answers: Sequence[Answered]) -> Figures:
    """lmms-eval's pope_aggregate_*: what is neither yes nor no is in no count but accuracy's.

    Its yes_ratio is that of the labels, not of the answers.
    """
    pairs = [(yes_no.pope_lmms(a.prediction), yes_no.pope_lmms(a.reference)) for a in answers]
    counts = {pair: pairs.count(pair) for pair in (("yes", "yes"), ("yes", "no"), ("no", "yes"))}
    labels = [label for _, label in pairs]
    return {
        "accuracy": _share(sum(said == label for said, label in pairs), len(pairs)),
        **_f1(counts["yes", "yes"], wrong=counts["yes", "no"], missed=counts["no", "yes"]),
        "yes_ratio": _share(labels.count("yes"), labels.count("yes") + labels.count("no")),
    }


def mme(answers: Sequence[Answered]) -> Figures:
    """lmms-eval's mme_aggregate_results: per category 100 x accuracy + 100 x share of images whose two
    answers are both right, summed over the categories of perception and over those of cognition.

    Raises `ScoringError` for an image without exactly two questions, as of a part of the data set.
    """
    pairs: dict[tuple[str, str], list[bool]] = {}
    for a in answers:
        right = yes_no.mme(a.prediction) == a.reference.lower().strip().replace(".", "")
        pairs.setdefault((a.category, a.image), []).append(right)
    by_category: dict[str, list[float]] = {}
    for (category, image), right_ones in pairs.items():
        if len(right_ones) != 2:
            raise ScoringError(
                f"MME needs two questions about every image; {image!r} has {len(right_ones)} in {category!r}."
            )
        by_category.setdefault(category, []).append(50.0 * sum(right_ones) + 100.0 * all(right_ones))
    sums = {"perception": 0.0, "cognition": 0.0}
    for category, points in by_category.items():
        sums["perception" if category in PERCEPTION else "cognition"] += sum(points) / len(points)
    return sums


def _f1(hits: int, *, wrong: int, missed: int) -> Figures:
    """hits: yes, and it was; wrong: yes, and it was not; missed: no, and it was. 0 where nothing counts."""
    precision, recall = _share(hits, hits + wrong), _share(hits, hits + missed)
    return {
        "precision": precision,
        "recall": recall,
        "f1": _share(2 * precision * recall, precision + recall),
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


@dataclass(frozen=True, slots=True)
class Corpus:
    """by_family: whether each part of the data set has figures of its own. shares: figures are in [0, 1]."""

    figures: Callable[[Sequence[Answered]], Figures]
    by_family: bool
    shares: bool


CORPUS = {
    "pope_llava": Corpus(pope_llava, by_family=True, shares=True),
    "pope_lmms": Corpus(pope_lmms, by_family=True, shares=True),
    "mme_lmms": Corpus(mme, by_family=False, shares=False),
}
"""Metric (a name in `data.scoring.METRICS`) -> the figures that belong to it."""
