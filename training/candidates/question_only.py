"""LightGBM on the question alone: what the image adds to routing is what this one misses."""

from __future__ import annotations

from router.features import QUESTION_GROUPS
from training.candidates.lightgbm_per_scale import LightGBMPerScale


def question_only() -> LightGBMPerScale:
    """`LightGBMPerScale` that reads the groups of features that describe the question."""
    return LightGBMPerScale(name="question_only", groups=QUESTION_GROUPS)
