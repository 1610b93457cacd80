"""Kinds of predictors; `candidates()` lists them, first the default of `m3-train fit`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.candidates.base import Candidate


def candidates() -> tuple[Candidate, ...]:
    """Every candidate (imports LightGBM)."""
    from training.candidates.attention import Attention, attention_fine
    from training.candidates.avg_llava import AvgLlava, avg_llava_routed
    from training.candidates.cares import Cares, cares_routed
    from training.candidates.ensemble import MeanOfMembers
    from training.candidates.frugalgpt import FrugalGPT, frugalgpt_routed
    from training.candidates.image_entropy import ImageEntropy
    from training.candidates.image_only import image_only
    from training.candidates.lightgbm_embeddings import lightgbm_embeddings
    from training.candidates.lightgbm_joint import LightGBMJoint, lightgbm_monotone
    from training.candidates.lightgbm_per_scale import LightGBMPerScale
    from training.candidates.lightgbm_shared import LightGBMShared
    from training.candidates.lookup import Lookup
    from training.candidates.nearest_neighbours import NearestNeighbours
    from training.candidates.question_only import question_only
    from training.candidates.question_text import question_text
    from training.candidates.vir import ViR, vir_routed
    from training.escalation.candidates import HybridCascade, PlainCascade

    return (
        LightGBMPerScale(),
        lightgbm_embeddings(),
        LightGBMShared(),
        LightGBMJoint(),
        lightgbm_monotone(),
        Attention(),
        attention_fine(),
        MeanOfMembers(),
        question_only(),
        question_text(),
        image_only(),
        ImageEntropy(),
        NearestNeighbours(),
        Lookup(),
        AvgLlava(),
        avg_llava_routed(),
        Cares(),
        cares_routed(),
        ViR(),
        vir_routed(),
        FrugalGPT(),
        frugalgpt_routed(),
        PlainCascade(),
        HybridCascade(),
    )
