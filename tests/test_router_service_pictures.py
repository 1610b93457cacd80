"""Pictures as files: decoded each time, and hashed once for each of their owners."""

from __future__ import annotations

import pytest
from PIL import Image

from m3_backbone import images
from m3_backbone.images import ImageError, ImageLimits, content_hash
from router.service import pictures
from router.service.pictures import Pictures
from tests.serving import picture


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hashes that are taken."""
    taken: list[str] = []

    def noted(image: Image.Image) -> str:
        taken.append(content_hash(image))
        return taken[-1]

    monkeypatch.setattr(images, "content_hash", noted)
    return taken


def test_a_file_is_decoded_each_time_and_hashed_once(hashed: list[str]) -> None:
    known = Pictures(ImageLimits(), hashed=True)
    (first, digest), (again, same) = (known.decode(picture("red"), "") for _ in range(2))
    assert first is not again
    assert digest == same == content_hash(first)
    assert known.decode(picture("blue"), "")[1] != digest
    assert known.decode(picture("red", format="GIF"), "")[1] == digest  # the same picture in another file
    assert len(hashed) == 3


def test_what_one_owner_has_sent_is_not_known_of_another(hashed: list[str]) -> None:
    known = Pictures(ImageLimits(), hashed=True)
    assert {known.decode(picture(), owner)[1] for owner in ("a", "b", "a", "")} == set(hashed)
    assert len(hashed) == 3


def test_a_set_number_of_files_is_remembered(hashed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "REMEMBERED", 2)
    known = Pictures(ImageLimits(), hashed=True)
    for colour in ("red", "green", "red", "blue", "red", "green"):
        known.decode(picture(colour), "")
    assert len(hashed) == 4  # green went when blue came


def test_an_engine_that_wants_no_hash_costs_none(hashed: list[str]) -> None:
    assert Pictures(ImageLimits(), hashed=False).decode(picture(), "")[1] is None
    assert hashed == []


def test_a_file_is_held_against_the_limits_however_often_it_comes() -> None:
    known = Pictures(ImageLimits(max_pixels=100), hashed=True)
    for _ in range(2):
        with pytest.raises(ImageError, match="at most 100 in all"):
            known.decode(picture(), "")
