"""Words on boards before photo-like textures, seen aslant, blurred and grainy.

The height of the letters decides the scale; contrast, blur and the slant make it worse.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from data.scalebench.families import wordings
from data.scalebench.families.paint import LEAST, Painting, fresh, yes_no
from data.scalebench.labels import Box
from data.scalebench.style import Style
from data.scalebench.vocabulary import COLOURS, NATURE, SHAPES, SIGNS

KINDS = {"read": 0.06, "largest": 0.06, "colour": 0.14, "place": 0.24, "exists": 0.52, "count": 0.25}
ASKED = {"read": 3.0, "colour": 3.0, "place": 0.2, "largest": 0.2}
WORDS = SIGNS + NATURE
_BACKGROUNDS = ("white", "grey", "yellow", "green", "blue", "brown")
_CROWDED = 0.4
"""Share of the pictures whose signs are small and hang close to each other."""


@dataclass(frozen=True)
class _Sign:
    word: str
    colour: str
    box: Box
    height: float  # of the letters

    @property
    def centre(self) -> tuple[float, float]:
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    @property
    def area(self) -> float:
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


def paint(rng: random.Random, style: Style) -> Painting:
    painting = fresh(rng, style, _BACKGROUNDS)
    canvas = painting.canvas
    blur, grain = _surface(rng, painting)
    signs = _column(rng, painting) if style.unseen_layout else _scatter(rng, painting)
    for _ in range(rng.randint(0, 4)):
        radius = rng.uniform(6, 16)
        x, y = rng.uniform(radius, canvas.width - radius), rng.uniform(radius, canvas.height - radius)
        if all(not _touches((x - radius, y - radius, x + radius, y + radius), s.box) for s in signs):
            colour = rng.choice([c for c in COLOURS if c != canvas.background])
            canvas.shape(rng.choice(SHAPES), colour, x, y, radius)
    contrast = painting.contrast()
    title = rng.random() < 0.3
    for sign in signs:
        edge = painting.readable(sign.colour) if style.unseen_layout else None
        canvas.block("sign", sign.colour, sign.box, f"{sign.colour} {sign.word}", edge)
        word = sign.word.title() if title else sign.word
        canvas.text(word, *sign.centre, sign.height, painting.ink(sign.colour, contrast), "mm")
    _ask(rng, painting, signs, {"contrast": contrast, "blur": blur, "noise": grain})
    ordered = sorted(signs, key=lambda s: (s.box[1], s.box[0]))
    listed = ", ".join(f"{s.colour} sign {s.word} {canvas.place(*s.centre)}" for s in ordered)
    painting.describe(f"{canvas.background} background: {listed}")
    for sign in signs:
        painting.look_up(f"{sign.colour} sign", sign.word)
        painting.look_up(f"{sign.word} colour", sign.colour)
        painting.look_up(f"{sign.colour} sign place", canvas.place(*sign.centre))
    return painting


def _surface(rng: random.Random, painting: Painting) -> tuple[float, float]:
    """Light, texture, slant, blur and grain; returns the blur's radius and the grain's deviation."""
    canvas = painting.canvas
    if rng.random() < 0.6:
        canvas.gradient(rng, rng.uniform(0.15, 0.6))
    if rng.random() < 0.5:
        canvas.mottle(rng, rng.uniform(0.1, 0.4))
    if rng.random() < 0.4:
        canvas.tilt(rng, rng.uniform(0.02, 0.1), rng.choice(("black", "brown", "grey")))
    blur = rng.uniform(0.3, 1.0) if rng.random() < 0.3 else 0.0
    grain = rng.uniform(2, 14) if rng.random() < 0.3 else 0.0
    if blur:
        canvas.blur(blur)
    if grain:
        canvas.noise(rng, grain)
    return blur, grain


def _touches(a: Box, b: Box, gap: float = 4) -> bool:
    return a[0] < b[2] + gap and b[0] < a[2] + gap and a[1] < b[3] + gap and b[1] < a[3] + gap


def _drawn(rng: random.Random, painting: Painting, most: int) -> list[tuple[str, str, float]]:
    """Words, colours and heights of letters of 1 to ``most`` signs. Many signs: small letters."""
    colours = rng.sample([c for c in COLOURS if c != painting.canvas.background], most)
    count = rng.randint(1, most)
    high = 60 if count < 3 else 40 / (count / 3) ** 0.5
    return [(w, c, painting.letters(high)) for w, c in zip(rng.sample(WORDS, count), colours, strict=False)]


def _scatter(rng: random.Random, painting: Painting) -> list[_Sign]:
    canvas = painting.canvas
    crowded = rng.random() < _CROWDED
    signs: list[_Sign] = []
    for word, colour, drawn in _drawn(rng, painting, 7 if crowded else 5):
        drawn = min(drawn, 11.0) if crowded else drawn
        height = canvas.fit([word.title()], drawn, canvas.width * 0.8)
        for _attempt in range(25):
            width, tall = canvas.text_size(word.title(), height)
            margin = height * rng.uniform(0.4, 0.9)
            wide, high = width + 2 * margin, max(tall, height) + 2 * margin
            if wide < canvas.width and high < canvas.height:
                x, y = rng.uniform(0, canvas.width - wide), rng.uniform(0, canvas.height - high)
                if crowded and signs:  # below or above another one, as on a post
                    near = rng.choice(signs).box
                    x = min(max(0.0, near[0] + rng.uniform(-0.5, 0.5) * wide), canvas.width - wide)
                    y = rng.choice((near[3] + 4.5, near[1] - high - 4.5))
                    if not 0 <= y <= canvas.height - high:
                        continue
                box = (x, y, x + wide, y + high)
                if all(not _touches(box, s.box) for s in signs):
                    signs.append(_Sign(word, colour, box, height))
                    break
            height = max(LEAST, height * 0.9)
    return signs


def _column(rng: random.Random, painting: Painting) -> list[_Sign]:
    """The layout that is kept back: a post with signs of equal width one below the other."""
    canvas = painting.canvas
    drawn = _drawn(rng, painting, 5)
    wide = canvas.width * rng.uniform(0.5, 0.9)
    left, room = rng.uniform(0, canvas.width - wide), canvas.height / len(drawn)
    signs = []
    for k, (word, colour, height) in enumerate(drawn):
        height = canvas.fit([word.title()], min(height, room * 0.5), wide * 0.85)
        middle, half = (k + 0.5) * room, height * 0.85
        signs.append(_Sign(word, colour, (left, middle - half, left + wide, middle + half), height))
    return signs


def _ask(rng: random.Random, painting: Painting, signs: list[_Sign], seen: dict[str, float]) -> None:
    canvas, n = painting.canvas, len(signs)
    words = [s.word for s in signs]
    away = [*words, *rng.sample(WORDS, 3)]
    for sign in rng.sample(signs, min(2, n)):
        asked = wordings.says(f"the {sign.colour} sign")
        painting.ask("read", asked, sign.word, away, height=sign.height, n=n, **seen)
    sign = rng.choice(signs)
    asked = wordings.colour_of(f"the sign that says {sign.word}")
    painting.ask("colour", asked, sign.colour, [s.colour for s in signs], height=sign.height, n=n, **seen)
    for truth in (True, False):
        sign = rng.choice(signs)
        word = sign.word if truth else rng.choice([w for w in WORDS if w not in words])
        asked = wordings.exists(f"a sign that says {word}")
        painting.ask("exists", asked, yes_no(truth), height=sign.height, n=n, **seen)
    painting.ask("count", wordings.how_many("signs"), n, n=n, size=min(s.box[3] - s.box[1] for s in signs))
    clear = [s for s in signs if canvas.clearance(*s.centre) > 5]
    for sign in rng.sample(clear, min(1, len(clear))):
        far, tall = canvas.clearance(*sign.centre), sign.box[3] - sign.box[1]
        place = canvas.place(*sign.centre)
        painting.ask("place", wordings.where(f"the {sign.colour} sign"), place, size=tall, n=n, distance=far)
    first, second, *_ = [*sorted((s.height for s in signs), reverse=True), 0.0]
    sign = max(signs, key=lambda s: s.height)
    if n > 1 and first > 1.15 * second and all(s is sign or s.area < sign.area for s in signs):
        asked = wordings.says("the largest sign")
        painting.ask("largest", asked, sign.word, away, height=first, n=n, gap=first - second, **seen)
