"""Shop shelves: boxes with words, prices on the edge below. Held out: only shift-families draws it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from data.scalebench.families import wordings
from data.scalebench.families.paint import LEAST, Painting, fresh, yes_no
from data.scalebench.style import Style
from data.scalebench.vocabulary import COLOURS, GOODS

KINDS = {"value": 0.04, "item": 0.08, "read": 0.08, "colour": 0.14, "exists": 0.52, "count": 0.18}
ASKED: dict[str, float] = {}
_WALLS = ("white", "grey", "yellow", "green")


@dataclass(frozen=True)
class _Box:
    good: str
    colour: str
    price: int


def paint(rng: random.Random, style: Style) -> Painting:
    painting = fresh(rng, style, _WALLS)
    canvas = painting.canvas
    canvas.gradient(rng, rng.uniform(0.0, 0.4))
    height, columns, rows = _sizes(rng, painting)
    n = rng.randint(2, min(9, columns * rows))
    free = [c for c in COLOURS if c not in (canvas.background, "brown")]
    colours = [*rng.sample(free, len(free)), rng.choice(free)]
    prices, goods = rng.sample(range(1, 100), n), rng.sample(GOODS, n)
    boxes = [_Box(*box) for box in zip(goods, colours, prices, strict=False)]
    contrast = painting.contrast()
    wide, tall = canvas.width / columns, canvas.height / rows
    spots = sorted(rng.sample(range(columns * rows), n))
    for row in range(rows):
        edge = tall * (row + 1)
        canvas.rectangle((0, edge - 1.9 * height, canvas.width, edge), "brown")
    for box, spot in zip(boxes, spots, strict=True):
        row, column = divmod(spot, columns)
        x, floor = wide * (column + 0.5), tall * (row + 1) - 1.9 * height
        high = min(floor - tall * row - 4, height * rng.uniform(2, 5))
        body = (x - wide * 0.46, floor - high, x + wide * 0.46, floor)
        canvas.block("box", box.colour, body, f"{box.colour} {box.good}")
        canvas.text(box.good, x, floor - high / 2, height, painting.ink(box.colour, contrast), "mm")
        half = canvas.text_size(str(box.price), height)[0] / 2 + 4
        canvas.rectangle((x - half, floor + 0.2 * height, x + half, floor + 1.7 * height), "white")
        canvas.text(str(box.price), x, floor + 0.95 * height, height, painting.readable("white"), "mm")
    _ask(rng, painting, boxes, {"height": height, "n": n, "contrast": contrast})
    painting.describe("shelves: " + ", ".join(f"{b.colour} box {b.good} {b.price}" for b in boxes))
    for box in boxes:
        painting.look_up(f"{box.good} price", box.price)
        painting.look_up(f"{box.good} colour", box.colour)
    return painting


def _sizes(rng: random.Random, painting: Painting) -> tuple[float, int, int]:
    """Height of the letters, and how many boxes stand side by side and shelves one above another."""
    canvas = painting.canvas
    height = max(LEAST, min(painting.letters(26), canvas.height / 9))
    widest = max(canvas.text_size(good, height)[0] for good in GOODS)
    columns = min(5, int(canvas.width / (widest * 1.15)))
    return height, columns, max(1, min(3, int(canvas.height / (height * 5.2))))


def _ask(rng: random.Random, painting: Painting, boxes: list[_Box], told: dict[str, float]) -> None:
    n = len(boxes)
    goods, colours, prices = ([getattr(b, name) for b in boxes] for name in ("good", "colour", "price"))
    one, other = rng.sample(boxes, 2)
    for box in (one, other):
        painting.ask("value", wordings.price_of(box.good), box.price, prices, **told)
    painting.ask("item", wordings.item_at(one.price), one.good, goods, **told)
    asked = wordings.colour_of(f"the box that says {other.good}")
    painting.ask("colour", asked, other.colour, colours, **told)
    single = [b for b in boxes if colours.count(b.colour) == 1]
    for box in rng.sample(single, min(1, len(single))):
        painting.ask("read", wordings.says(f"the {box.colour} box"), box.good, goods, **told)
    for truth in (True, False):
        good = rng.choice(goods if truth else [g for g in GOODS if g not in goods])
        painting.ask("exists", wordings.exists(f"a box that says {good}"), yes_no(truth), **told)
    painting.ask("count", wordings.how_many("boxes"), n, n=n)
