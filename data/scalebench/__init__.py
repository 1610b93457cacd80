"""ScaleBench: seeded pictures with questions in which image and question decide how much detail is needed.

``picture(split, index)`` is a pure function of its arguments: the same pixels, questions and labels on
every machine with the same Pillow.
"""

from __future__ import annotations

from data.scalebench.generator import corpus, picture, samples
from data.scalebench.picture import MEASURES, Description, Picture, Question
from data.scalebench.plans import NOVELTY_SPLITS, PLANS, SPLIT_IMAGES
from data.scalebench.vocabulary import LABELS

__all__ = [
    "LABELS",
    "MEASURES",
    "NOVELTY_SPLITS",
    "PLANS",
    "SPLIT_IMAGES",
    "Description",
    "Picture",
    "Question",
    "corpus",
    "picture",
    "samples",
]
