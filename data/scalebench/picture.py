"""One generated picture with its questions, descriptions and dense labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MEASURES = {
    "n": "things to tell apart",
    "height": "height of the letters, pixels",
    "size": "size of the thing asked about, pixels",
    "contrast": "contrast of the letters, 0 to 1",
    "gap": "difference of the values compared",
    "distance": "distance to what it could be taken for, pixels",
    "clutter": "strokes under the things counted",
    "blur": "radius of the blur, pixels",
    "noise": "grain, grey levels",
}
"""What the keys of `Question.difficulty` mean; pixels are those of the padded 336 x 336 frame."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its one right answer (lower case), its kind, and what decides its difficulty.

    ``difficulty``: keys of `MEASURES`, which the families share.
    """

    text: str
    answer: str
    kind: str
    difficulty: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Description:
    """A prompt that asks for (part of) the whole picture, and the text that gives it. Training only."""

    prompt: str
    text: str


@dataclass(frozen=True, slots=True)
class LookUp:
    """A fact of the picture in its shortest form, "bread mon" -> "42". Training only.

    Questions ask for a few of them; a picture holds many more, and look-ups by content need them all.
    """

    key: str
    value: str


@dataclass(frozen=True)
class Picture:
    """What training alone wants of a picture is made when it is first asked for."""

    image: Image.Image
    image_id: str
    family: str
    questions: tuple[Question, ...]
    look_ups: tuple[LookUp, ...]
    describe: Callable[[], tuple[Description, ...]] = field(repr=False, compare=False)
    paint_labels: Callable[[], Mapping[str, NDArray[np.int16]]] = field(repr=False, compare=False)

    @cached_property
    def descriptions(self) -> tuple[Description, ...]:
        """The whole picture first, then its parts."""
        return self.describe()

    @cached_property
    def labels(self) -> Mapping[str, NDArray[np.int16]]:
        """Head -> int16 [24, 24], classes of `vocabulary.LABELS` in the padded 336 x 336 frame."""
        return self.paint_labels()
