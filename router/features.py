"""An ordered, versioned, named float32 vector from route inputs.

`FeatureSpec` is made when a router is fitted and stored in its bundle, so that serving, training and
replay read the same columns. One implementation serves one request and whole outcome tables.

Shapes: n requests, m images, F features; the others as in `m3_backbone.types.RouteInputs`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3_backbone.types import SUMMARY_VERSION, RouteInputs
from router.errors import BundleCorrupt, BundleMismatch
from router.input_arrays import Float32, InputArrays, OneRequest

__all__ = [
    "FEATURES_VERSION",
    "FINER",
    "FROM_TEXT",
    "IMAGE_GROUPS",
    "NEEDS",
    "QUESTION_GROUPS",
    "FeatureSpec",
    "Float32",
    "InputArrays",
    "words_of",
]

FEATURES_VERSION = 1
"""Version of what the groups mean; a bundle of another version is refused."""

MAX_WIDTH = 100_000
"""Most columns; a manifest that asks for more is damaged, and would be a way to take all memory."""

NEEDS = {
    "grid_stats": ("grid_stats",),
    "pooled": ("pooled",),
    "image": ("image_size", "views"),
    "question": ("question",),
    "interaction": ("interaction",),
    "words": ("question_tokens",),
    "length": ("question_tokens",),
    "products": ("question", "grid_stats"),
}
"""Groups of features, in the order of their columns -> the fields of `RouteInputs` that they read."""

FINER = {"fine": ("fine",)}
"""A further group, for routers that read a finer picture: tables have it from a cache (`data.grids`)."""

FROM_TEXT = {"phrases": ("question_text",), "text_length": ("question_text",)}
"""Further groups, for outcomes that came without a backbone's route inputs: the question's text is enough."""

_ALL = {**NEEDS, **FROM_TEXT, **FINER}
_WORD = re.compile(r"\w+(?:'\w+)*")

IMAGE_GROUPS = ("grid_stats", "pooled")
"""What describes the image alone and in real numbers: the novelty score is taken over those that are read."""

_IMAGE = ("log_area", "log_aspect", "views")

QUESTION_GROUPS = ("question", "words", "length")
"""What describes the question alone."""


def words_of(text: str) -> list[str]:
    """The words of a question, lower case, in their order."""
    words: list[str] = _WORD.findall(text.lower())
    return words


@dataclass(frozen=True)
class FeatureSpec:
    """Which columns there are, and what the question's words and directions are.

    words, bigrams: token ids (sorted) whose presence in the question is a column each. phrases: the same of
    its text: words, and neighbouring words with a space between (sorted).
    basis: [K, E] directions of the question vector; ``products`` are (basis @ question) x grid_stats.
    groups: the groups in use, some of `NEEDS`, `FROM_TEXT` and `FINER` in their order.
    fine_rows: R of the group ``fine``, whose tokens are as wide as the pooled ones.
    """

    grid_stat_names: tuple[str, ...]
    pooled_shape: tuple[int, int]
    question_size: int
    interaction_names: tuple[str, ...]
    words: tuple[int, ...] = ()
    bigrams: tuple[tuple[int, int], ...] = ()
    basis: tuple[tuple[float, ...], ...] = ()
    groups: tuple[str, ...] = tuple(NEEDS)
    phrases: tuple[str, ...] = ()
    fine_rows: int = 0
    version: int = FEATURES_VERSION
    summary_version: int = SUMMARY_VERSION

    def __post_init__(self) -> None:
        unknown = set(self.groups) - set(_ALL)
        if unknown or not self.groups:
            raise ValueError(f"Feature groups {list(self.groups)}: take some of {', '.join(_ALL)}.")
        object.__setattr__(self, "groups", tuple(g for g in _ALL if g in self.groups))
        chosen: tuple[Sequence[Any], ...] = (self.words, self.bigrams, self.phrases)
        if any(list(keys) != sorted(set(keys)) for keys in chosen):
            raise ValueError("Words, bigrams and phrases must be sorted and without duplicates.")
        if any(len(row) != self.question_size for row in self.basis):
            raise ValueError(f"Every row of the basis needs {self.question_size} numbers.")
        if min(*self.pooled_shape, self.fine_rows, self.question_size) < 0 or self.width > MAX_WIDTH:
            raise ValueError(
                f"Pooled tokens of {self.pooled_shape} and questions of {self.question_size}: {self.width} "
                f"columns; from 0 to {MAX_WIDTH} are possible."
            )

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """Fields of `RouteInputs` that the vector reads."""
        return tuple(dict.fromkeys(need for group in self.groups for need in _ALL[group]))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """One name per column."""
        return tuple(f"{group}:{name}" for group in self.groups for name in self._group_names(group))

    @cached_property
    def width(self) -> int:
        """F, the number of columns."""
        stats, words = len(self.grid_stat_names), len(self.words) + len(self.bigrams)
        widths = {
            "grid_stats": stats,
            "pooled": math.prod(self.pooled_shape),
            "image": len(_IMAGE),
            "question": self.question_size,
            "interaction": len(self.interaction_names),
            "words": words,
            "length": 1,
            "products": len(self.basis) * stats,
            "phrases": len(self.phrases),
            "text_length": 1,
            "fine": self.fine_rows * self.pooled_shape[1],
        }
        return sum(widths[group] for group in self.groups)

    def columns(self, groups: Sequence[str]) -> NDArray[np.int64]:
        """Indices of the columns of these groups."""
        return np.array(
            [i for i, name in enumerate(self.names) if name.partition(":")[0] in groups], dtype=np.int64
        )

    def vector(self, inputs: RouteInputs) -> Float32:
        """[F] of one request. Raises `BundleMismatch` when the inputs are not those of the spec."""
        if inputs.version != self.summary_version:
            raise BundleMismatch(
                f"Route inputs have version {inputs.version}, the bundle was fitted on version "
                f"{self.summary_version}: fit it again on outcomes of this backbone."
            )
        row: Float32 = self.matrix(OneRequest.of(inputs))[0]
        return row

    def matrix(self, table: InputArrays) -> Float32:
        """[n, F] of a whole table, equal to `vector` row by row. Raises `BundleMismatch` as there."""
        self._check(table)
        blocks = [self._block(group, table) for group in self.groups]
        return np.concatenate(blocks, axis=1, dtype=np.float32)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and strings, for the manifest."""
        return {
            "version": self.version,
            "summary_version": self.summary_version,
            "groups": list(self.groups),
            "grid_stat_names": list(self.grid_stat_names),
            "pooled_shape": list(self.pooled_shape),
            "question_size": self.question_size,
            "interaction_names": list(self.interaction_names),
            "words": list(self.words),
            "bigrams": [list(pair) for pair in self.bigrams],
            "basis": [list(row) for row in self.basis],
            **({"phrases": list(self.phrases)} if self.phrases else {}),
            **({"fine_rows": self.fine_rows} if self.fine_rows else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FeatureSpec:
        """The inverse of `to_json`. Raises `BundleCorrupt` or, for another version, `BundleMismatch`."""
        try:
            if value["version"] != FEATURES_VERSION:
                raise BundleMismatch(
                    f"The bundle's features have version {value['version']!r}, this router reads version "
                    f"{FEATURES_VERSION}: fit the bundle again."
                )
            rows, width = value["pooled_shape"]
            return cls(
                grid_stat_names=tuple(map(str, value["grid_stat_names"])),
                pooled_shape=(int(rows), int(width)),
                question_size=int(value["question_size"]),
                interaction_names=tuple(map(str, value["interaction_names"])),
                words=tuple(map(int, value["words"])),
                bigrams=tuple((int(a), int(b)) for a, b in value["bigrams"]),
                basis=tuple(tuple(map(float, row)) for row in value["basis"]),
                groups=tuple(value["groups"]),
                phrases=tuple(map(str, value.get("phrases", ()))),
                fine_rows=int(value.get("fine_rows", 0)),
                summary_version=int(value["summary_version"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as err:
            raise BundleCorrupt(f"The features cannot be read ({err!r}): fit the bundle again.") from err

    def _group_names(self, group: str) -> list[str]:
        if group == "grid_stats":
            return list(self.grid_stat_names)
        if group in ("pooled", "fine"):
            rows, width = self.pooled_shape if group == "pooled" else self._fine_shape
            return [f"{p}.{d}" for p in range(rows) for d in range(width)]
        if group == "image":
            return list(_IMAGE)
        if group == "question":
            return [str(e) for e in range(self.question_size)]
        if group == "interaction":
            return list(self.interaction_names)
        if group == "words":
            return [str(word) for word in self.words] + [f"{a}_{b}" for a, b in self.bigrams]
        if group == "length":
            return ["question_tokens"]
        if group == "phrases":
            return list(self.phrases)
        if group == "text_length":
            return ["words"]
        return [f"{k}x{name}" for k in range(len(self.basis)) for name in self.grid_stat_names]

    def _check(self, table: InputArrays) -> None:
        """A vector of the wrong columns would be read as if it were right: compare names and widths, of what
        is read at all."""
        stats, interactions = len(self.grid_stat_names), len(self.interaction_names)
        for field, what, got, wanted in (
            ("grid_stats", "grid statistics", table.grid_stat_names, self.grid_stat_names),
            ("interaction", "interactions", table.interaction_names, self.interaction_names),
            ("pooled", "pooled tokens", table.pooled.shape[1:], self.pooled_shape),
            ("fine", "finer pooled tokens", table.fine.shape[1:], self._fine_shape),
            ("question", "question vector", table.question.shape[1:], (self.question_size,)),
            ("grid_stats", "width of the grid statistics", table.grid_stats.shape[1:], (stats,)),
            ("interaction", "width of the interactions", table.interaction.shape[1:], (interactions,)),
        ):
            if field in self.needs and got != wanted:
                raise BundleMismatch(
                    f"Route inputs differ from the bundle's: {what} are {got!r}, the bundle has {wanted!r}. "
                    "Fit the bundle again on outcomes of this backbone."
                )

    def _block(self, group: str, table: InputArrays) -> Float32:
        n = len(table.question)
        if group == "grid_stats":
            return table.grid_stats[table.image_index]
        if group == "pooled":
            return table.pooled[table.image_index].reshape(n, -1)
        if group == "fine":
            return table.fine[table.image_index].reshape(n, -1)
        if group == "image":
            size = table.image_sizes[table.image_index].astype(np.float64)
            logs = np.log(size)
            return np.stack(
                [logs.sum(axis=1), logs[:, 0] - logs[:, 1], table.image_views[table.image_index]], axis=1
            ).astype(np.float32)
        if group == "question":
            return table.question
        if group == "interaction":
            return table.interaction
        if group == "words":
            return self._presence(table.question_tokens)
        if group == "length":
            return np.array([[len(tokens)] for tokens in table.question_tokens], dtype=np.float32)
        if group == "phrases":
            return self._phrases_in(table.questions)
        if group == "text_length":
            return np.array([[len(words_of(text))] for text in table.questions], dtype=np.float32)
        # A product and a sum, not BLAS, whose rounding depends on n: a tree's threshold would see that.
        directions = (table.question[:, None, :] * self._basis).sum(axis=2, dtype=np.float32)
        stats = table.grid_stats[table.image_index]
        products: Float32 = (directions[:, :, None] * stats[:, None, :]).reshape(n, -1)
        return products

    @property
    def _fine_shape(self) -> tuple[int, int]:
        return self.fine_rows, self.pooled_shape[1]

    @cached_property
    def _basis(self) -> Float32:
        return np.asarray(self.basis, dtype=np.float32).reshape(1, len(self.basis), self.question_size)

    @cached_property
    def _word_column(self) -> dict[int, int]:
        return {word: i for i, word in enumerate(self.words)}

    @cached_property
    def _bigram_column(self) -> dict[tuple[int, int], int]:
        return {pair: len(self.words) + i for i, pair in enumerate(self.bigrams)}

    @cached_property
    def _phrase_column(self) -> dict[str, int]:
        return {phrase: i for i, phrase in enumerate(self.phrases)}

    def _phrases_in(self, questions: Sequence[str]) -> Float32:
        """1 where a phrase occurs in the question, else 0: [n, phrases]."""
        present = np.zeros((len(questions), len(self.phrases)), dtype=np.float32)
        for row, text in zip(present, questions, strict=True):
            words = words_of(text)
            found = (*words, *map(" ".join, itertools.pairwise(words)))
            row[[self._phrase_column[phrase] for phrase in found if phrase in self._phrase_column]] = 1.0
        return present

    def _presence(self, questions: Sequence[NDArray[np.int32]]) -> Float32:
        """1 where a word or bigram occurs in the question, else 0: [n, words + bigrams]."""
        present = np.zeros((len(questions), len(self.words) + len(self.bigrams)), dtype=np.float32)
        words, bigrams = self._word_column, self._bigram_column
        for row, tokens in zip(present, questions, strict=True):
            ids = tokens.tolist()
            hits = [words[i] for i in ids if i in words]
            hits += [bigrams[pair] for pair in itertools.pairwise(ids) if pair in bigrams]
            row[hits] = 1.0
        return present
