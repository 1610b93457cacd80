"""One generated picture with its questions, descriptions and dense labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MEASURES = {
    "n": "things to tell apart",
    "height": "height of the letters, pixels",
    "size": "size of the thing asked about, pixels",
    "gap": "difference of the values compared",
    "distance": "distance of the things compared, pixels",
}
"""What the keys of `Question.difficulty` mean; pixels are those of a 336 x 336 picture."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its one right answer (lower case), its kind, and what decides its difficulty.

    ``difficulty`` is in pixels of the padded 336 x 336 frame for sizes, in units for counts.
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


@dataclass(frozen=True, slots=True)
class Picture:
    """``labels``: head -> int16 [24, 24], classes of `vocabulary.LABELS` in the padded 336 x 336 frame."""

    image: Image.Image
    image_id: str
    family: str
    questions: tuple[Question, ...]
    descriptions: tuple[Description, ...]
    look_ups: tuple[LookUp, ...]
    labels: Mapping[str, NDArray[np.int16]]
