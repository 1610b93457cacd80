"""What the families share: a fresh canvas, letters, and questions in several wordings.

A family is a module of this package with

- ``paint(rng, style) -> Painting``: draws one picture and asks about it, at least five questions;
- ``KINDS``: kind of question -> share that someone who sees the question alone can get right at best;
- ``ASKED``: kind of question -> how often it is asked, next to 1 for the kinds that are not named. Set
  on dev, so that every scale is some questions' smallest right one (docs/log.md). Training asks them all.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from data.scalebench.canvas import Canvas
from data.scalebench.picture import Description, LookUp, Question
from data.scalebench.style import RGB, Style

LEAST = 7.0
"""Height of the smallest letters, in frame units: capitals and digits."""
SMALLEST = 5.5
"""Radius of the smallest shapes, in frame units."""
REACH = {"circle": 1.0, "ring": 1.0, "triangle": 1.0, "star": 1.0, "square": 1.25, "cross": 1.05}
"""Of a shape: the distance of its furthest point from its centre, in radii."""
CHOICE = "-choice"
"""Ending of the kinds that give four options."""
_DARK = 148
"""Shades that are less bright than this, of 255, are written on in white: the usual red, blue, green, purple,
brown and black, and most greys."""
_OPTIONS = 4
_CHOICES = 0.2  # share of the questions with enough options that name them


@dataclass
class Painting:
    """A canvas with the questions and descriptions that go with it."""

    rng: random.Random
    style: Style
    canvas: Canvas
    questions: list[Question] = field(default_factory=list)
    descriptions: list[Description] = field(default_factory=list)
    look_ups: list[LookUp] = field(default_factory=list)

    def ask(
        self,
        kind: str,
        wordings: Sequence[str],
        answer: str | int,
        options: Sequence[str | int] = (),
        /,
        **difficulty: float,
    ) -> None:
        """Ask in one of at least four ``wordings``, of which the last is kept back for shift-wording.

        options: wrong answers that suit, best those of the same picture. With three or more, the question
        names four options now and then, and its kind ends in "-choice".
        """
        if len(wordings) < 4:
            raise ValueError(f"{kind} has {len(wordings)} wordings; the last of at least 4 is kept back.")
        text = wordings[-1] if self.style.unseen_wording else self.rng.choice(wordings[:-1])
        right = str(answer).lower()
        wrong = sorted({str(option).lower() for option in options} - {right})
        if len(wrong) >= _OPTIONS - 1 and self.rng.random() < _CHOICES:
            named = [right, *self.rng.sample(wrong, _OPTIONS - 1)]
            self.rng.shuffle(named)
            text = f"{text} Choose from {', '.join(named[:-1])} or {named[-1]}."
            kind += CHOICE
        rounded = {name: round(float(value), 2) for name, value in difficulty.items()}
        self.questions.append(Question(text, right, kind, rounded))

    def describe(self, text: str) -> None:
        """The whole picture in words, short enough to learn. Training only; call it once."""
        self.descriptions.append(Description("Describe the picture.", text))

    def look_up(self, key: str, value: str | int) -> None:
        """A fact in its shortest form, "bread price" -> 42, for all that could be asked. Training only."""
        self.look_ups.append(LookUp(key, str(value).lower()))

    def letters(self, high: float = 60.0, low: float = LEAST) -> float:
        """A height of letters: log-uniform from ``low`` to ``high``."""
        return log_uniform(self.rng, min(low, high), high)

    def contrast(self) -> float:
        """How far ink stands out: 1 is the full colour, 0 would be invisible. Mostly 1."""
        low = 0.6 if self.canvas.background == "grey" else 0.4  # no ink is far from grey
        return 1.0 if self.rng.random() < 0.5 else self.rng.uniform(low, 1.0)

    def readable(self, on: str) -> str:
        """Colour of ink that stands out on the colour ``on`` in this picture's shade of it."""
        red, green, blue = self.canvas.shade(on)
        return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < _DARK else "black"

    def ink(self, on: str, contrast: float = 1.0) -> RGB:
        """Ink that stands out on the colour ``on`` by ``contrast``."""
        return self.canvas.mix(self.readable(on), on, contrast)


def fresh(
    rng: random.Random, style: Style, backgrounds: Sequence[str], square: float | None = None
) -> Painting:
    """An empty painting on one of ``backgrounds``; ``square`` raises the share of 336 x 336 pictures."""
    width, height = style.size(rng)
    if (
        square is not None
        and style.square > 0
        and rng.random() < (square - style.square) / (1 - style.square)
    ):
        width, height = 336, 336
    canvas = Canvas(width, height, rng.choice(backgrounds), rng.choice(style.fonts), style.palette(rng))
    return Painting(rng, style, canvas)


def log_uniform(rng: random.Random, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def yes_no(truth: bool) -> str:
    return "yes" if truth else "no"
