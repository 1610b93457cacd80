"""Synthetic outcome tables with a rule that a router can learn, made in milliseconds.

An image has a detail in [0, 1], a question asks for a need; the scale that detail and need together
require answers nearly always, smaller ones seldom.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data.records import OutcomeTable

if TYPE_CHECKING:
    from training.fit import FitResult

SCALES = (1, 9, 36, 144, 576)
STATS = ("detail", "loss_1", "loss_9", "loss_36", "loss_144", "norm")
INTERACTIONS = ("sim_1", "sim_9", "sim_36", "sim_144", "sim_576")
ROWS, WIDTH, QUESTION = 10, 4, 8
NEEDS = (0.1, 0.4, 0.7, 1.0)
"""Per kind of question; kind k is asked with the token 100 + k."""


def half(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """What an outcome table can hold: float32 of float16."""
    return values.astype(np.float16).astype(np.float32)


def outcomes(
    n_images: int = 200, questions: int = 4, *, split: str = "router-train", seed: int = 0, soft: bool = False
) -> OutcomeTable:
    """``n_images`` x ``questions`` samples. soft: scores between 0 and 1 instead of 0 and 1."""
    rng = np.random.default_rng([seed, len(split), ord(split[0])])
    n = n_images * questions
    image = np.repeat(np.arange(n_images), questions)
    detail = rng.random(n_images)
    kind = rng.integers(0, len(NEEDS), n)
    required = np.clip(np.floor(detail[image] * np.array(NEEDS)[kind] * 6), 0, 4)
    right = np.where(np.arange(5) >= required[:, None], 0.95, 0.1)
    scores = (rng.random((n, 5)) < right).astype(np.float64)
    if soft:
        scores *= rng.integers(5, 11, (n, 1)) / 10
    losses = detail[:, None] * np.array([1.0, 0.8, 0.6, 0.3]) + rng.normal(0, 0.05, (n_images, 4))
    stats = np.concatenate([detail[:, None], losses, rng.normal(5, 1, (n_images, 1))], axis=1)
    centres = np.random.default_rng(7).normal(size=(len(NEEDS), QUESTION))
    tokens = tuple(
        np.array([1, *rng.integers(10, 60, rng.integers(2, 6)), 100 + k, 2], dtype=np.int32) for k in kind
    )
    visual = np.tile(np.array(SCALES, np.int64), (n, 1))
    return OutcomeTable(
        manifest={
            "schema_version": 1,
            "backbone_fingerprint": "synthetic",
            "backbone": "synthetic",
            "ladder": list(SCALES),
            "dataset": "synthetic",
            "split": split,
            "prompt": "none",
            "metric": "exact_match",
            "summary_version": 1,
        },
        scales=SCALES,
        sample_ids=tuple(f"{split}-{i}" for i in range(n)),
        questions=tuple(f"question {k}" for k in kind),
        references=(("yes",),) * n,
        families=np.where(kind < 2, "coarse", "fine").astype(np.str_),
        kinds=kind.astype(np.str_),
        image_index=image.astype(np.int64),
        image_ids=tuple(f"{split}-image-{i}" for i in range(n_images)),
        image_sizes=rng.integers(100, 900, (n_images, 2)),
        image_views=np.ones(n_images, np.int64),
        answers=np.full((n, 5), "yes", np.str_),
        scores=scores,
        visual_tokens=visual,
        text_tokens=np.full(n, 20, np.int64),
        answer_tokens=np.full((n, 5), 2, np.int64),
        mean_logprob=np.full((n, 5), -0.1, np.float32),
        min_logprob=np.full((n, 5), -0.2, np.float32),
        first_margin=np.full((n, 5), 0.5, np.float32),
        flops=visual * 10**6,
        grid_stats=half(stats),
        grid_stat_names=STATS,
        pooled=half(rng.normal(size=(n_images, ROWS, WIDTH))),
        question=half(centres[kind] + rng.normal(0, 0.3, (n, QUESTION))),
        question_tokens=tokens,
        interaction=half(rng.normal(size=(n, len(INTERACTIONS)))),
        interaction_names=INTERACTIONS,
    )


def with_finer(table: OutcomeTable) -> OutcomeTable:
    """The table with its cache of finer pooled tokens: those of a place and its three neighbours differ."""
    noise = np.random.default_rng(len(table)).normal(size=(len(table.image_ids), 4 * (ROWS - 1), WIDTH))
    return replace(table, fine=half(np.repeat(table.pooled[:, 1:], 4, axis=1) + noise))


@cache
def small_fit() -> FitResult:
    """A router fitted on a small synthetic table, once per test run (a second); it reads all route inputs."""
    from training.candidates.lightgbm_embeddings import lightgbm_embeddings
    from training.candidates.lightgbm_per_scale import LightGBMPerScale
    from training.fit import fit

    grid = ({"num_leaves": 7, "min_data_in_leaf": 20},)
    candidate = LightGBMPerScale(groups=lightgbm_embeddings().groups, grid=grid, folds=2, rounds=60)
    return fit(outcomes(300), outcomes(120, split="tune"), candidate, threads=1)
