"""The splits: how many pictures, how many questions about each, of which families and in which style.

The seeds follow from the plan's edition and the split's name; no two splits share a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from data.scalebench.families import FAMILIES, HELD_OUT
from data.scalebench.style import UNSEEN_FONTS, UNSEEN_SIZES, Style

EDITION = "scalebench-3"
BACKBONE_EDITION = "scalebench-2"
"""Of the pictures that m3-tiny was trained on: they are drawn as they were."""
USUAL = Style()

_SHARES: Mapping[str, int] = {"pages": 4, "receipts": 3, "counting": 3, "maps": 1, "signs": 1}
"""The shares that are not 2: documents more often, maps and signs less (docs/scalebench.md says why)."""
ROUTED = tuple(name for name in FAMILIES for _ in range(_SHARES.get(name, 2)))
"""Families of what is routed, each as often as its share: a picture's is drawn from these."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``questions``: least and most about one picture, fewer where it gives fewer; None: all that it gives.

    families: what a picture's is drawn from; a name that stands there twice is drawn twice as often.
    replica_of: the split whose pictures it draws again, each perturbed. finish: what is done to the pixels at
    last, a function of `data.scalebench.finishes`.
    """

    images: int
    questions: tuple[int, int] | None
    families: tuple[str, ...] = ROUTED
    edition: str = EDITION
    style: Style = USUAL
    replica_of: str = ""
    finish: str = ""


_SHIFT = 750
"""Images of a shifted set, with four questions each."""

PLANS: Mapping[str, Plan] = {
    "backbone-train": Plan(1_000_000, None, FAMILIES, BACKBONE_EDITION),  # as many as wanted
    "backbone-val": Plan(500, (4, 4), FAMILIES, BACKBONE_EDITION),
    "router-train": Plan(12_500, (5, 5)),
    "dev": Plan(1_250, (4, 4)),
    "dev+1": Plan(1_250, (4, 4), replica_of="dev", finish="harmless"),
    "dev+2": Plan(1_250, (4, 4), replica_of="dev", finish="harmless"),
    "tune": Plan(1_250, (4, 4)),
    "certify": Plan(20_000, (1, 3)),
    "test": Plan(2_500, (4, 4)),
    "test+1": Plan(2_500, (4, 4), replica_of="test", finish="harmless"),
    "test+2": Plan(2_500, (4, 4), replica_of="test", finish="harmless"),
    "shift-fonts": Plan(_SHIFT, (4, 4), style=Style(fonts=UNSEEN_FONTS)),
    "shift-colours": Plan(_SHIFT, (4, 4), style=Style(unseen_shades=True, unseen_layout=True)),
    "shift-wording": Plan(_SHIFT, (4, 4), style=Style(unseen_wording=True)),
    "shift-jpeg": Plan(_SHIFT, (4, 4), finish="artefacts"),
    "shift-aspect": Plan(_SHIFT, (4, 4), style=Style(sizes=UNSEEN_SIZES, square=0.0)),
    "shift-families": Plan(_SHIFT, (4, 4), families=HELD_OUT),
}
NOVELTY_SPLITS = ("shift-fonts", "shift-colours")
"""Shifted sets on which novelty may be tuned; the others are for judging alone."""
SPLIT_IMAGES = {split: plan.images for split, plan in PLANS.items()}
