"""LightGBM on the question alone: what the image adds to routing is what this one misses."""

from __future__ import annotations

from router.features import QUESTION_GROUPS
from training.candidates.boosting import EMBEDDINGS
from training.candidates.lightgbm_per_scale import LightGBMPerScale


def question_only() -> LightGBMPerScale:
    """`LightGBMPerScale` that reads the groups of features that describe the question, its vector aside."""
    groups = tuple(group for group in QUESTION_GROUPS if group not in EMBEDDINGS)
    return LightGBMPerScale(name="question_only", groups=groups)
