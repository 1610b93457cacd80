"""The second process that opens images."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

import pytest
from PIL import Image

from tests.labelling import Picture
from training.prefetch import PrefetchError, open_all


def test_sources_that_cannot_be_pickled_are_opened_here() -> None:
    picture = Picture(3)
    (opened,) = open_all([lambda: picture()])
    assert isinstance(opened, Image.Image)
    assert opened.tobytes() == picture().tobytes()
    assert list(open_all([])) == []


def test_a_reader_that_stops_early_ends_the_process() -> None:
    images = open_all([Picture(i) for i in range(50)], ahead=2)
    first = next(images)
    assert isinstance(first, Image.Image)
    assert first.tobytes() == Picture(0)().tobytes()
    images.close()


@dataclass(frozen=True)
class Killer:
    """Ends the process that opens it, as the out-of-memory killer would."""

    def __call__(self) -> Image.Image:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_the_death_of_the_image_process_is_an_error_with_a_remedy() -> None:
    with pytest.raises(PrefetchError, match=r"ended with code -9.*continues"):
        list(open_all([Picture(0), Killer()]))
