from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace

import pytest
from PIL import Image

from data.splits import DEFAULT_FRACTIONS, SplitError, assign, check_split, split_of
from m3_backbone.images import content_hash
from tests.labelling import Picture, samples


def hashes(n: int) -> list[str]:
    return [hashlib.sha256(str(i).encode()).hexdigest() for i in range(n)]


def test_the_split_of_an_image_never_changes() -> None:
    # certificates and reports rest on these: a change here voids them
    assert [split_of(h) for h in hashes(8)] == [
        "dev",
        "router-train",
        "router-train",
        "router-train",
        "certify",
        "router-train",
        "dev",
        "router-train",
    ]


def test_splits_have_about_their_share_of_the_images() -> None:
    counts = Counter(split_of(h) for h in hashes(4000))
    for name, share in DEFAULT_FRACTIONS.items():
        assert abs(counts[name] / 4000 - share) < 0.03


def test_a_split_without_a_share_gets_nothing_and_rounding_loses_nobody() -> None:
    fractions = {"dev": 0.0, "tune": 0.1, "test": 0.9 - 1e-12, "certify": 0.0}
    assert {split_of(h, fractions) for h in hashes(500)} == {"tune", "test"}
    assert split_of("x", {"test": 1.0}) == "test"


@dataclass
class Counting:
    """Opens one picture and counts how often."""

    number: int
    opened: int = 0

    def __call__(self) -> Image.Image:
        self.opened += 1
        return Picture(self.number)()


def test_questions_about_one_picture_share_its_split_in_every_data_set() -> None:
    here = samples(6, 2)
    there = [replace(s, dataset="other", image_id=f"x{i}", sample_id=f"x{i}") for i, s in enumerate(here)]
    splits: dict[str, str] = {}
    for sample in assign([*here, *there]):
        digest = content_hash(sample.open_image())
        assert splits.setdefault(digest, sample.split) == sample.split == split_of(digest)
    assert len(splits) == 6


def test_every_image_is_opened_once() -> None:
    opener = Counting(1)
    two = [replace(s, open_image=opener) for s in samples(1, 2)]
    assert len(list(assign(two))) == 2
    assert opener.opened == 1


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"train": 1.0}, "'train' does not exist. Splits: backbone-train"),
        ({"dev": 1.5}, r"fraction of dev is 1\.5"),
        ({"dev": -0.5, "test": 1.5}, r"fraction of dev is -0\.5"),
        ({"dev": 0.5}, r"sum to 0\.5; they must sum to 1"),
        ({}, "sum to 0"),
    ],
)
def test_fractions_that_make_no_split_are_refused(fractions: dict[str, float], message: str) -> None:
    with pytest.raises(SplitError, match=message):
        split_of("x", fractions)
    with pytest.raises(SplitError, match=message):
        list(assign([], fractions))


def test_a_split_is_checked_by_name() -> None:
    assert check_split("certify") == "certify"
    with pytest.raises(SplitError, match="'val' does not exist"):
        check_split("val")
