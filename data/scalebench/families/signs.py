"""Words on boards, from huge to tiny, among clutter. The height of the letters decides the scale."""

from __future__ import annotations

import random
from dataclasses import dataclass

from data.scalebench.canvas import Box
from data.scalebench.families.paint import Painting, fresh, log_uniform, readable, yes_no
from data.scalebench.vocabulary import COLOURS, SHAPES, SIGNS

_BACKGROUNDS = ("white", "grey", "yellow", "green", "blue", "brown")


@dataclass(frozen=True)
class _Sign:
    word: str
    colour: str
    box: Box
    height: float  # of the letters, in frame units

    @property
    def centre(self) -> tuple[float, float]:
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


def paint(rng: random.Random) -> Painting:
    painting = fresh(rng, _BACKGROUNDS)
    canvas = painting.canvas
    signs = _place(rng, painting)
    for _ in range(rng.randint(0, 4)):
        radius = rng.uniform(5, 16)
        x, y = rng.uniform(radius, canvas.width - radius), rng.uniform(radius, canvas.height - radius)
        if all(not _touches((x - radius, y - radius, x + radius, y + radius), s.box) for s in signs):
            colour = rng.choice([c for c in COLOURS if c != canvas.background])
            canvas.shape(rng.choice(SHAPES), colour, x, y, radius)
    case = rng.choice((str.lower, str.lower, str.title))
    for sign in signs:
        canvas.block("sign", sign.colour, sign.box)
        canvas.text(case(sign.word), *sign.centre, _font_size(sign), readable(sign.colour), "mm")
    _ask(rng, painting, signs)
    ordered = sorted(signs, key=lambda s: (s.box[1], s.box[0]))
    listed = ", ".join(f"{s.colour} sign {s.word} {canvas.place(*s.centre)}" for s in ordered)
    painting.describe("Describe the picture.", f"{canvas.background} background: {listed}")
    for sign in signs:
        painting.look_up(f"{sign.colour} sign word", sign.word)
        painting.look_up(f"{sign.word} sign colour", sign.colour)
        painting.look_up(f"{sign.colour} sign place", canvas.place(*sign.centre))
    return painting


def _font_size(sign: _Sign) -> float:
    return sign.height * 1.4  # capitals are about 0.7 of the font size


def _touches(a: Box, b: Box, gap: float = 4) -> bool:
    return a[0] < b[2] + gap and b[0] < a[2] + gap and a[1] < b[3] + gap and b[1] < a[3] + gap


def _place(rng: random.Random, painting: Painting) -> list[_Sign]:
    canvas = painting.canvas
    colours = [c for c in COLOURS if c != canvas.background]
    rng.shuffle(colours)
    words = rng.sample(SIGNS, 5)
    signs: list[_Sign] = []
    for _ in range(rng.choice((1, 1, 2, 2, 3, 4))):
        for _attempt in range(25):
            height = log_uniform(rng, 8, 60)
            width, tall = canvas.text_size(words[0].upper(), height * 1.4)
            margin = height * rng.uniform(0.5, 1.1)
            wide, high = width + 2 * margin, tall + 2 * margin
            if wide >= canvas.width or high >= canvas.height:
                continue
            x, y = rng.uniform(0, canvas.width - wide), rng.uniform(0, canvas.height - high)
            box = (x, y, x + wide, y + high)
            if all(not _touches(box, s.box) for s in signs):
                signs.append(_Sign(words.pop(0), colours.pop(0), box, height))
                break
    return signs or [_Sign("exit", colours[0], (20, 20, 160, 90), 24)]


def _ask(rng: random.Random, painting: Painting, signs: list[_Sign]) -> None:
    n = len(signs)
    for sign in rng.sample(signs, min(2, n)):
        text = rng.choice(
            (
                f"What does the {sign.colour} sign say?",
                f"Which word is on the {sign.colour} sign?",
                f"Read the {sign.colour} sign.",
            )
        )
        painting.ask("read", text, sign.word, height=sign.height, n=n)
    sign = rng.choice(signs)
    text = rng.choice(
        (
            f"What colour is the sign that says {sign.word}?",
            f"The word {sign.word} is on a sign of which colour?",
        )
    )
    painting.ask("colour-of-word", text, sign.colour, height=sign.height, n=n)
    word = sign.word if rng.random() < 0.5 else rng.choice(SIGNS)
    text = rng.choice(
        (f"Is there a sign that says {word}?", f"Can you read the word {word}?", f"Does any sign say {word}?")
    )
    painting.ask("exists", text, yes_no(word in {s.word for s in signs}), height=sign.height, n=n)
    text = rng.choice(("How many signs are there?", "Count the signs.", "How many signs can you see?"))
    painting.ask("count", text, n, n=n, height=min(s.height for s in signs))
    text = rng.choice(
        (f"Where is the {sign.colour} sign?", f"In which part of the picture is the {sign.colour} sign?")
    )
    painting.ask("place", text, painting.canvas.place(*sign.centre), height=sign.height, n=n)
    word = sign.word if rng.random() < 0.5 else rng.choice(SIGNS)
    text = rng.choice(
        (f"Does the {sign.colour} sign say {word}?", f"Is {word} written on the {sign.colour} sign?")
    )
    painting.ask("verify", text, yes_no(word == sign.word), height=sign.height, n=n)
    text = rng.choice(("What colour is the background?", "Which colour is behind the signs?"))
    painting.ask("background", text, painting.canvas.background)
    biggest = max(signs, key=lambda s: s.height)
    text = rng.choice(("What does the largest sign say?", "Which word is written in the biggest letters?"))
    painting.ask("read-largest", text, biggest.word, height=biggest.height, n=n)
