"""Which words of the question, and which directions of its vector, the router looks at.

Chosen on router-train when a router is fitted, stored in the bundle's `FeatureSpec`.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from router.features import words_of

WORDS = (128, 512)
"""Columns of words at least and at most: one for every `PAIRS_A_WORD` labelled pairs between."""

PAIRS_A_WORD = 100

Questions = Sequence[NDArray[np.int32]]
Key = TypeVar("Key", bound=Hashable)


def n_words(pairs: int) -> int:
    """How many words a router looks at that is fitted on so many labelled ``pairs``.

    Many kinds of questions need many to be told apart; few pairs bear few columns (docs/log.md).
    """
    return int(np.clip(pairs // PAIRS_A_WORD, *WORDS))


def told_by(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Targets [n, 2 S - 1] that words are chosen by: scores [n, S], and what a scale adds to the one below.

    What a scale adds is what routing goes by; the scores alone favour words of questions that are hard at
    any scale.
    """
    return np.concatenate([scores, np.diff(scores, axis=1)], axis=1)


def choose_words(
    questions: Questions, targets: NDArray[np.float64], k: int = WORDS[0], min_count: int = 20
) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
    """The k token ids and bigrams whose presence tells most about ``targets`` [n, T], each sorted.

    Told by the squared correlation of presence with each target, summed; of words that always occur
    together one is kept. Those in fewer than ``min_count`` questions, or absent from as few, are left out.
    """
    ids = [tokens.tolist() for tokens in questions]
    words: dict[int, list[int]] = _where(ids)
    pairs: dict[tuple[int, int], list[int]] = _where([list(itertools.pairwise(row)) for row in ids])
    centred = targets - targets.mean(axis=0)
    variance = np.maximum(centred.var(axis=0), 1e-12)
    ranked: list[tuple[float, int | tuple[int, int]]] = []
    seen: set[bytes] = set()
    # A word before the bigrams that it is part of.
    items: list[tuple[int | tuple[int, int], list[int]]] = [*sorted(words.items()), *sorted(pairs.items())]
    for key, where in items:
        rows = np.asarray(where)
        share = len(rows) / len(ids)
        if not min_count <= len(rows) <= len(ids) - min_count or rows.tobytes() in seen:
            continue
        seen.add(rows.tobytes())
        covariance = centred[rows].sum(axis=0) / len(ids)
        ranked.append((float((covariance**2 / (variance * share * (1 - share))).sum()), key))
    ranked.sort(key=lambda entry: -entry[0])  # stable: equal worth keeps the order above
    kept = [key for _, key in ranked[:k]]
    return (
        tuple(sorted(key for key in kept if isinstance(key, int))),
        tuple(sorted(key for key in kept if not isinstance(key, int))),
    )


def choose_phrases(
    questions: Sequence[str], targets: NDArray[np.float64], k: int = WORDS[0], min_count: int = 20
) -> tuple[str, ...]:
    """`choose_words` for texts, whose words are no tokens: words, and pairs of them, sorted."""
    texts = [words_of(text) for text in questions]
    words = sorted({word for text in texts for word in text})
    number = {word: i for i, word in enumerate(words)}
    ids = [np.array([number[word] for word in text], np.int32) for text in texts]
    single, pairs = choose_words(ids, targets, k, min_count)
    return tuple(sorted([words[i] for i in single] + [f"{words[a]} {words[b]}" for a, b in pairs]))


def principal_directions(vectors: NDArray[np.float32], k: int = 4) -> tuple[tuple[float, ...], ...]:
    """The k directions [k, E] along which ``vectors`` [n, E] vary most, in float32, signs fixed."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, vectors_ = np.linalg.eigh(centred.T @ centred)
    rows = vectors_[:, ::-1][:, :k].T
    largest = np.abs(rows).argmax(axis=1)
    rows = rows * np.sign(rows[np.arange(len(rows)), largest])[:, None]
    return tuple(tuple(float(v) for v in row) for row in rows.astype(np.float32))


def _where(rows: Iterable[Iterable[Key]]) -> dict[Key, list[int]]:
    """Key -> the rows in which it occurs, ascending, each once."""
    found: dict[Key, list[int]] = {}
    for i, row in enumerate(rows):
        for key in dict.fromkeys(row):
            found.setdefault(key, []).append(i)
    return found
