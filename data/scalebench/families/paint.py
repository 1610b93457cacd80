"""What the families share: a fresh canvas, and questions in several phrasings."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from data.scalebench.canvas import Canvas
from data.scalebench.picture import Description, LookUp, Question

FONTS = (
    "LiberationSans-Regular.ttf",
    "LiberationSans-Bold.ttf",
    "OpenSans-Bold.ttf",
)
SIZES = ((448, 336), (336, 448), (400, 300), (300, 400), (504, 336), (252, 252))


@dataclass
class Painting:
    """A canvas with the questions and descriptions that go with it."""

    canvas: Canvas
    questions: list[Question] = field(default_factory=list)
    descriptions: list[Description] = field(default_factory=list)
    look_ups: list[LookUp] = field(default_factory=list)

    def ask(self, kind: str, text: str, answer: str | int, **difficulty: float) -> None:
        rounded = {name: round(value, 1) for name, value in difficulty.items()}
        self.questions.append(Question(text, str(answer).lower(), kind, rounded))

    def describe(self, prompt: str, text: str) -> None:
        self.descriptions.append(Description(prompt, text))

    def look_up(self, key: str, value: str | int) -> None:
        self.look_ups.append(LookUp(key, str(value).lower()))


def fresh(rng: random.Random, backgrounds: tuple[str, ...], square: float = 0.75) -> Painting:
    """An empty painting; ``square`` is the share of pictures that are 336 x 336."""
    width, height = (336, 336) if rng.random() < square else rng.choice(SIZES)
    return Painting(Canvas(width, height, rng.choice(backgrounds), rng.choice(FONTS)))


def log_uniform(rng: random.Random, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def readable(background: str) -> str:
    """Ink that stands out on ``background``."""
    return "white" if background in ("red", "blue", "green", "purple", "brown", "black", "grey") else "black"


def yes_no(truth: bool) -> str:
    return "yes" if truth else "no"
