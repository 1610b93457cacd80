"""LightGBM per scale on all route inputs: what the embeddings do to trees is what tells this one apart."""

from __future__ import annotations

from router.features import NEEDS
from training.candidates.lightgbm_per_scale import LightGBMPerScale


def lightgbm_embeddings() -> LightGBMPerScale:
    """`LightGBMPerScale` that reads the pooled tokens and the question's vector too."""
    groups = tuple(group for group in NEEDS if group != "products")
    return LightGBMPerScale(name="lightgbm_embeddings", groups=groups)
