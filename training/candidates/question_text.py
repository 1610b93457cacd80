"""LightGBM on the text of the question: what is left where outcomes came without route inputs."""

from __future__ import annotations

from router.features import FROM_TEXT
from training.candidates.lightgbm_per_scale import LightGBMPerScale


def question_text() -> LightGBMPerScale:
    """`LightGBMPerScale` on words of the question, which no backbone is needed for."""
    return LightGBMPerScale(name="question_text", groups=tuple(FROM_TEXT))
