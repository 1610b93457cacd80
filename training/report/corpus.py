"""Official figures over the whole corpus (POPE's F1, MME's sums): of every fixed scale and of the router."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.corpus import CORPUS, Answered
from data.records import OutcomeTable
from data.scoring import ScoringError
from training.evaluation.results import PolicyResult
from training.evaluation.settings import Index


@dataclass(frozen=True)
class CorpusRow:
    """family: the part of the data set that the figures are of, or empty for all of it."""

    family: str
    policy: str
    figures: Mapping[str, float]


def corpus_rows(table: OutcomeTable, operating: PolicyResult | None) -> tuple[CorpusRow, ...]:
    """Empty where the table's metric has no such figures, or the table is too small a part for them."""
    found = {str(name) for name in table.metrics}
    corpus = CORPUS.get(found.pop()) if len(found) == 1 else None
    if corpus is None:
        return ()
    n = len(table)
    policies: dict[str, Index] = {
        f"fixed {scale}": np.full(n, s, np.int64) for s, scale in enumerate(table.scales)
    }
    if operating is not None:
        policies["router"] = operating.choice
    parts: dict[str, NDArray[np.int64]] = {"": np.arange(n)}
    if corpus.by_family:
        parts = {str(f): np.flatnonzero(table.families == f) for f in np.unique(table.families)}
    try:
        return tuple(
            CorpusRow(family, policy, corpus.figures(_answered(table, rows, choice)))
            for family, rows in parts.items()
            for policy, choice in policies.items()
        )
    except ScoringError:
        return ()


def _answered(table: OutcomeTable, rows: NDArray[np.int64], choice: Index) -> list[Answered]:
    return [
        Answered(
            str(table.answers[i, choice[i]]),
            table.references[i][0],
            str(table.families[i]),
            table.image_ids[int(table.image_index[i])],
        )
        for i in rows.tolist()
    ]
