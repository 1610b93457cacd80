"""The splits are what they were when their seeds were fixed."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from data.scalebench import PLANS
from data.scalebench.digests import LONGEST, Digest, Digests, differences, first, of_picture, record
from data.scalebench.plans import EDITION

OTHER_PILLOW = "the record was made with another Pillow, which may draw letters differently"


@pytest.fixture(scope="module")
def recorded() -> Digests:
    digests = Digests.read()
    if not digests.same_pillow:
        pytest.skip(OTHER_PILLOW)
    return digests


def test_every_split_of_this_edition_is_recorded() -> None:
    digests = Digests.read()
    assert digests.edition == EDITION
    assert list(digests.splits) == list(PLANS)
    for split, digest in digests.splits.items():
        assert digest.images == PLANS[split].images
        assert bool(digest.all) == (digest.images <= LONGEST)


@pytest.mark.parametrize("split", list(PLANS))
def test_the_first_pictures_of_a_split_are_as_recorded(split: str, recorded: Digests) -> None:
    assert first(split) == recorded.splits[split].first


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_all_pictures_are_as_recorded(recorded: Digests) -> None:
    assert differences(recorded, record(os.cpu_count() or 1)) == []


def test_a_digest_covers_the_pixels_and_the_questions() -> None:
    assert of_picture("dev", 0) == of_picture("dev", 0)
    assert of_picture("dev", 0) != of_picture("dev", 1)
    assert of_picture("dev", 0) != of_picture("dev+1", 0)  # the same questions, other pixels


def test_differences_name_the_split_that_changed(tmp_path: Path) -> None:
    digests = Digests(EDITION, "1", {"dev": Digest(3, "a", "b"), "test": Digest(3, "c", "d")})
    digests.write(tmp_path / "digests.json")
    assert Digests.read(tmp_path / "digests.json") == digests
    assert differences(digests, digests) == []
    changed = dataclasses.replace(digests, splits={**digests.splits, "dev": Digest(3, "a", "x")})
    assert differences(digests, changed) == ["dev: recorded 3 pictures b, drawn 3 pictures x."]
    fewer = dataclasses.replace(digests, splits={"dev": digests.splits["dev"]})
    assert differences(digests, fewer) == ["test: recorded 3 pictures d, drawn nothing."]
    assert "scalebench-0" in differences(dataclasses.replace(digests, edition="scalebench-0"), digests)[0]
