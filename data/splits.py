"""Deterministic splits by image content, for data sets that have none of their own.

The split depends on the picture alone: the same picture lands in the same split in every data set, under
every file name, whatever else is there. So no image is trained on in one data set and tested in another.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from data.records import SPLITS, Sample
from m3_backbone.images import content_hash

DEFAULT_FRACTIONS: Mapping[str, float] = {
    "router-train": 0.5,
    "dev": 0.125,
    "tune": 0.125,
    "certify": 0.125,
    "test": 0.125,
}

_SALT = "m3-router split 1:"  # changing it moves every image; certificates would be void


class SplitError(ValueError):
    """Fractions that make no split, or the name of a split that does not exist."""


def split_of(image_hash: str, fractions: Mapping[str, float] = DEFAULT_FRACTIONS) -> str:
    """The split of an image, from its content hash (`m3_backbone.images.content_hash`).

    fractions: split -> share of the images, in a fixed order, summing to 1.
    """
    _check(fractions)
    digest = hashlib.sha256((_SALT + image_hash).encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    bound = 0.0
    chosen = ""
    for name, share in fractions.items():
        if share > 0 and place >= bound:
            chosen = name
        bound += share
    return chosen


def assign(samples: Iterable[Sample], fractions: Mapping[str, float] = DEFAULT_FRACTIONS) -> Iterator[Sample]:
    """The samples with their splits set. Every image is opened once, to hash it."""
    _check(fractions)
    known: dict[tuple[str, str], str] = {}
    for sample in samples:
        key = (sample.dataset, sample.image_id)
        if key not in known:
            known[key] = split_of(content_hash(sample.open_image()), fractions)
        yield replace(sample, split=known[key])


def check_split(name: str) -> str:
    """``name`` itself when it is a split; raises `SplitError` naming the splits otherwise."""
    if name not in SPLITS:
        raise SplitError(f"Split {name!r} does not exist. Splits: {', '.join(SPLITS)}.")
    return name


def _check(fractions: Mapping[str, float]) -> None:
    for name, share in fractions.items():
        check_split(name)
        if not 0 <= share <= 1:
            raise SplitError(f"The fraction of {name} is {share}; it must be between 0 and 1.")
    total = math.fsum(fractions.values())
    if abs(total - 1) > 1e-9:
        raise SplitError(f"The fractions sum to {total:g}; they must sum to 1.")
