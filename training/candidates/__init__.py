"""Kinds of predictors; `candidates()` lists them, the one that is shipped first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.candidates.base import Candidate


def candidates() -> tuple[Candidate, ...]:
    """Every candidate (imports LightGBM)."""
    from training.candidates.lightgbm_per_scale import LightGBMPerScale
    from training.candidates.lightgbm_shared import LightGBMShared
    from training.candidates.lookup import Lookup
    from training.candidates.question_only import question_only

    return (LightGBMPerScale(), LightGBMShared(), question_only(), Lookup())
