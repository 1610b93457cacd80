"""Samples and outcome tables: all that training, evaluation and reports need.

An outcome table is a folder (`data.writing` has the columns):

- ``manifest.json``      schema version, backbone fingerprint, ladder, data set, split, prompt, hashes;
- ``samples.parquet``    one row per sample: ids, references, family, kind, interaction;
- ``questions.parquet``  one row per distinct question: text, tokens, vector (float16);
- ``images.parquet``     one row per image: what the router sees of the image (float16 arrays);
- ``outcomes.parquet``   one row per (sample, scale).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from m3_backbone.scales import Ladder
from m3_backbone.types import SUMMARY_VERSION, RouteInputs

if TYPE_CHECKING:
    from PIL import Image

SCHEMA_VERSION = 1

SPLITS = ("backbone-train", "backbone-val", "router-train", "dev", "tune", "certify", "test")

IDENTITY = ("backbone_fingerprint", "ladder", "prompt", "summary_version")
"""Manifest keys that must agree before two tables may be mixed."""

OF_FILES = ("files", "counts", "shapes")
"""Manifest keys that describe the files as written; a table made from others does not have them."""

_EPS = 1e-9  # scores are sums of tenths: 0.3 + 0.6 must count as 0.9


class RecordError(ValueError):
    """An outcome table or a sample that cannot be used; the message names the file, row and value."""


Texts = NDArray[Any]
"""An array of ``StringDType``: each text as long as it is, where ``np.str_`` pads all to the longest."""


def long_texts(values: Any) -> Texts:
    """Nested sequences of text as an array."""
    texts: Texts = np.array(values, np.dtypes.StringDType())
    return texts


def sufficient_scales(scores: NDArray[np.float64], tolerance: float = 0.0) -> NDArray[np.bool_]:
    """bool [n, S] of ``scores`` [n, S]: score >= best over the scales - tolerance, and that best > 0."""
    if not 0.0 <= tolerance < 1.0:
        raise RecordError(f"The tolerance must be at least 0 and below 1, got {tolerance}.")
    best = scores.max(axis=1, keepdims=True)
    near: NDArray[np.bool_] = (scores >= best - tolerance - _EPS) & (best > 0)
    return near


class ImageSource(Protocol):
    """Opens the upright RGB image of a sample; samples hold no pixels themselves."""

    def __call__(self) -> Image.Image: ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One question about one image, with its references and the metric that scores an answer."""

    sample_id: str
    image_id: str  # stable within the data set; samples that share it share the picture
    open_image: ImageSource
    question: str  # exactly the text that the backbone is asked, format suffix included
    answers: tuple[str, ...]
    metric: str
    dataset: str
    split: str
    family: str = ""
    kind: str = ""  # question kind within the family
    difficulty: Mapping[str, float] = field(default_factory=dict)  # what the generator drew
    prompt: str = ""  # name of the form that the question was put in (`data.sources.prompts`)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the backbone did on one sample at one scale."""

    sample_id: str
    scale: int
    answer: str
    score: float  # the data set's metric, in [0, 1]
    visual_tokens: int
    text_tokens: int
    answer_tokens: int
    mean_logprob: float  # nats per answer token
    min_logprob: float
    first_margin: float  # probability of the first answer token minus the runner-up's
    flops: int  # whole path at this scale: tower + language model
    full_logprob: float = math.nan  # nats per token of the full scale's answer, said here; NaN: not known


@dataclass(frozen=True)
class OutcomeTable:
    """A loaded outcome table. n samples, S scales, m images; all arrays share one order of samples.

    Route inputs as stored: ``grid_stats`` float32 [m, G], ``pooled`` float32 [m, P, D], ``question``
    float32 [n, E], ``interaction`` float32 [n, I], ``question_tokens`` list of int32 [T_i]. ``fine`` float32
    [m, R, D] lies in a cache beside the table (`data.grids`); without one R is 0.

    full_logprob: mean log-probability, at every scale, of the tokens that the full scale answered; NaN where
    it is not known: tables that were imported, or labelled before it was recorded, have none.
    """

    manifest: Mapping[str, object]
    scales: tuple[int, ...]
    sample_ids: tuple[str, ...]
    questions: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]
    families: NDArray[np.str_]  # [n]
    kinds: NDArray[np.str_]  # [n]
    image_index: NDArray[np.int64]  # [n] -> row of the image arrays
    image_ids: tuple[str, ...]  # [m]
    image_sizes: NDArray[np.int64]  # [m, 2] width, height
    image_views: NDArray[np.int64]  # [m]
    answers: Texts  # [n, S]
    scores: NDArray[np.float64]  # [n, S]
    visual_tokens: NDArray[np.int64]  # [n, S]
    text_tokens: NDArray[np.int64]  # [n]
    answer_tokens: NDArray[np.int64]  # [n, S]
    mean_logprob: NDArray[np.float32]  # [n, S]
    min_logprob: NDArray[np.float32]  # [n, S]
    first_margin: NDArray[np.float32]  # [n, S]
    flops: NDArray[np.int64]  # [n, S]
    grid_stats: NDArray[np.float32]
    grid_stat_names: tuple[str, ...]
    pooled: NDArray[np.float32]
    question: NDArray[np.float32]
    question_tokens: tuple[NDArray[np.int32], ...]
    interaction: NDArray[np.float32]
    interaction_names: tuple[str, ...]
    difficulty: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)  # name -> [n], NaN: not drawn
    datasets: NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, np.str_))  # [n]
    metrics: NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, np.str_))  # [n]
    full_logprob: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))  # [n, S]
    fine: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))

    def __post_init__(self) -> None:
        if not self.fine.size:
            none = np.zeros((len(self.image_ids), 0, self.pooled.shape[-1]), np.float32)
            object.__setattr__(self, "fine", none)
        if not self.full_logprob.size:  # not recorded
            unknown = np.full((len(self), len(self.scales)), np.nan, np.float32)
            object.__setattr__(self, "full_logprob", unknown)
        for name, key in (("datasets", "dataset"), ("metrics", "metric")):
            if len(getattr(self, name)) != len(self):  # not given: the same for every sample
                value = np.full(len(self), str(self.manifest.get(key, "")))
                object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.sample_ids)

    @property
    def backbone_fingerprint(self) -> str:
        return str(self.manifest["backbone_fingerprint"])

    @property
    def split(self) -> str:
        return str(self.manifest.get("split", ""))

    def sufficient(self, tolerance: float = 0.0) -> NDArray[np.bool_]:
        """bool [n, S]: see `sufficient_scales`."""
        return sufficient_scales(self.scores, tolerance)

    def route_inputs(self, i: int) -> RouteInputs:
        """What the router sees of sample ``i``: equal, bit for bit, to what the backbone gave."""
        if not -len(self) <= i < len(self):
            raise RecordError(f"Sample {i} is not in a table of {len(self)} samples.")
        image = int(self.image_index[i])
        return RouteInputs(
            ladder=Ladder(self.scales),
            image_size=(int(self.image_sizes[image, 0]), int(self.image_sizes[image, 1])),
            views=int(self.image_views[image]),
            visual_tokens=tuple(int(t) for t in self.visual_tokens[i]),
            text_tokens=int(self.text_tokens[i]),
            grid_stats=self.grid_stats[image],
            grid_stat_names=self.grid_stat_names,
            pooled=self.pooled[image],
            question=self.question[i],
            question_tokens=self.question_tokens[i],
            interaction=self.interaction[i],
            interaction_names=self.interaction_names,
            question_text=self.questions[i],
            version=_int(self.manifest.get("summary_version", SUMMARY_VERSION)),
            fine=self.fine[image],
        )

    def take(self, indices: ArrayLike) -> OutcomeTable:
        """The samples ``indices`` (integers or a bool mask [n]), in that order, with the images they need."""
        rows = np.asarray(indices)
        if rows.dtype == np.bool_:
            if rows.shape != (len(self),):
                raise RecordError(f"The mask has shape {rows.shape}; the table has {len(self)} samples.")
            rows = np.flatnonzero(rows)
        rows = rows.astype(np.int64).reshape(-1)
        if len(rows) and (rows.min() < -len(self) or rows.max() >= len(self)):
            raise RecordError(f"Sample {int(rows.max())} is not in a table of {len(self)} samples.")
        images, image_index = np.unique(self.image_index[rows], return_inverse=True)
        changed: dict[str, Any] = {"image_index": image_index.astype(np.int64)}
        for name in BY_SAMPLE:
            changed[name] = pick(getattr(self, name), rows)
        for name in BY_IMAGE:
            changed[name] = pick(getattr(self, name), images)
        changed["difficulty"] = {key: values[rows] for key, values in self.difficulty.items()}
        changed["manifest"] = {k: v for k, v in self.manifest.items() if k not in OF_FILES}
        return replace(self, **changed)


BY_IMAGE = ("image_ids", "image_sizes", "image_views", "grid_stats", "pooled", "fine")
_WHOLE = ("manifest", "scales", "grid_stat_names", "interaction_names", "difficulty", "image_index")
BY_SAMPLE = tuple(f.name for f in fields(OutcomeTable) if f.name not in BY_IMAGE + _WHOLE)
"""Fields with one row per image, and with one row per sample."""


def read_outcomes(path: str | Path, *, verify: bool = True) -> OutcomeTable:
    """The outcome table in the folder ``path``; raises `RecordError` for whatever is wrong with it.

    verify: compare the files with the hashes in the manifest.
    """
    from data.reading import read_table

    return read_table(Path(path), verify=verify)


def write_outcomes(path: str | Path, table: OutcomeTable) -> None:
    """Write ``table`` to the folder ``path``, replacing a table that is there.

    Each file is written beside its place, synced and renamed, the manifest last: a folder without a
    manifest is not a table. Raises `RecordError` for a table that `read_outcomes` would refuse.
    """
    from data.writing import write_table

    write_table(Path(path), table)


def pick(values: Any, rows: NDArray[np.int64]) -> Any:
    """The rows of a tuple or an array."""
    return tuple(values[r] for r in rows) if isinstance(values, tuple) else values[rows]


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise RecordError(f"The manifest's summary_version is {value!r}, not an integer.")
    return value
