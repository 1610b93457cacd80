"""LightGBM on the image alone: what the question adds to routing is what this one misses."""

from __future__ import annotations

from router.features import IMAGE_GROUPS
from training.candidates.boosting import EMBEDDINGS
from training.candidates.lightgbm_per_scale import LightGBMPerScale


def image_only() -> LightGBMPerScale:
    """`LightGBMPerScale` that reads the groups of features that describe the image, its size among them and
    its pooled tokens not."""
    groups = tuple(group for group in IMAGE_GROUPS if group not in EMBEDDINGS)
    return LightGBMPerScale(name="image_only", groups=(*groups, "image"))
