"""LightGBM on the image alone: what the question adds to routing is what this one misses."""

from __future__ import annotations

from router.features import IMAGE_GROUPS
from training.candidates.lightgbm_per_scale import LightGBMPerScale


def image_only() -> LightGBMPerScale:
    """`LightGBMPerScale` that reads the groups of features that describe the image, its size among them."""
    return LightGBMPerScale(name="image_only", groups=(*IMAGE_GROUPS, "image"))
