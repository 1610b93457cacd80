"""LightGBM per scale on the route inputs that are numbers of their own, without the two embeddings."""

from __future__ import annotations

from router.features import NEEDS
from training.candidates.lightgbm_per_scale import LightGBMPerScale

EMBEDDINGS = ("pooled", "question", "products")
"""Groups whose single columns mean nothing by themselves: projected tokens, the question's vector."""


def lightgbm_lean() -> LightGBMPerScale:
    """`LightGBMPerScale` that reads grid statistics, interaction, image size, words and length.

    Trees split on single columns. Those of an embedding tell more about how often a question is answered
    at all than about which scale it needs: they lower the log loss, and blur the differences between scales,
    which alone a policy goes by.
    """
    groups = tuple(group for group in NEEDS if group not in EMBEDDINGS)
    return LightGBMPerScale(name="lightgbm_lean", groups=groups)
