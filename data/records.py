"""Samples and outcome tables: all that training, evaluation and reports need.

An outcome table is a folder:

- ``manifest.json``   schema version, backbone fingerprint, ladder, data set, split, prompt, counts;
- ``samples.parquet`` one row per sample: question, references, family, what the router sees of the question;
- ``images.parquet``  one row per image: what the router sees of the image (float16 arrays);
- ``outcomes.parquet`` one row per (sample, scale).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

SCHEMA_VERSION = 1

SPLITS = ("backbone-train", "backbone-val", "router-train", "dev", "tune", "certify", "test")


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


@dataclass(frozen=True)
class OutcomeTable:
    """A loaded outcome table. n samples, S scales, m images; all arrays share one order of samples.

    Route inputs as stored: ``grid_stats`` float32 [m, G], ``pooled`` float32 [m, P, D], ``question``
    float32 [n, E], ``interaction`` float32 [n, I], ``question_tokens`` list of int32 [T_i].
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
    answers: NDArray[np.str_]  # [n, S]
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

    def __len__(self) -> int:
        return len(self.sample_ids)
