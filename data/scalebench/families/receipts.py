"""Receipts and forms: a heading in large letters, lines in small ones, boxes that are ticked or not."""

from __future__ import annotations

import random

from data.scalebench.families import wordings
from data.scalebench.families.paint import LEAST, Painting, fresh, yes_no
from data.scalebench.style import Style
from data.scalebench.vocabulary import CITIES, DAYS, GOODS, MONTHS, NAMES, PLURALS, SIGNS

KINDS = {
    "heading": 0.08, "colour": 0.22, "value": 0.04, "item": 0.08, "total": 0.05, "exists": 0.52,
    "field": 0.09, "ticked": 0.52,
}  # fmt: skip
ASKED = {"value": 3.0, "total": 3.0, "item": 3.0, "field": 0.2}
_PAPER = ("white", "white", "yellow", "grey")
_BOX = 20.0
"""Side of the largest box to tick."""
_BANDS = ("red", "blue", "green", "black", "purple")
_FIELDS = {"name": NAMES, "city": CITIES, "day": DAYS, "item": GOODS, "age": tuple(map(str, range(10, 100)))}


def paint(rng: random.Random, style: Style) -> Painting:
    painting = fresh(rng, style, _PAPER)
    if rng.random() < 0.2:
        painting.canvas.noise(rng, rng.uniform(2, 8))
    return _form(rng, painting) if rng.random() < 0.35 else _receipt(rng, painting)


def _heading(rng: random.Random, painting: Painting, word: str) -> tuple[float, float]:
    """A coloured band with the heading, at the top (kept back: at the bottom); returns what is left free."""
    canvas = painting.canvas
    high = min(26.0, canvas.height * 0.11)
    height = canvas.fit([word], painting.letters(high, low=12), canvas.width * 0.8)
    band = rng.choice(_BANDS)
    deep = height * rng.uniform(1.7, 2.2)
    top = canvas.height - deep if painting.style.unseen_layout else 0.0
    canvas.block("box", band, (0, top, canvas.width, top + deep), f"{band} {word}")
    canvas.text(word, canvas.width / 2, top + deep / 2, height, painting.readable(band), "mm")
    painting.ask("heading", wordings.says("the heading"), word, SIGNS, height=height)
    painting.ask("colour", wordings.colour_of("the band with the heading"), band, _BANDS, size=deep)
    painting.look_up("heading", word)
    return (0.0, top) if painting.style.unseen_layout else (deep, canvas.height)


def _receipt(rng: random.Random, painting: Painting) -> Painting:
    canvas, aside = painting.canvas, painting.style.unseen_layout
    shop = rng.choice(SIGNS)
    start, end = _heading(rng, painting, shop)
    left = rng.uniform(0.05, 0.2) * canvas.width
    right = canvas.width - rng.uniform(0.05, 0.2) * canvas.width
    widest = [f"{good} 88" for good in GOODS]  # a good, a gap and its price
    height = max(LEAST, canvas.fit(widest, painting.letters(18), (right - left) * 0.95))
    most = int((end - start - 12) / (height * 1.5)) - 1
    if most < 2:
        height, most = LEAST, 2
    n = rng.randint(2, min(most, 12))
    room = min((end - start - 12) / (n + 1), height * rng.uniform(1.4, 2.2))
    goods, prices = rng.sample(GOODS, n), rng.sample(range(1, 60), n)
    total = rng.randrange(60, 100)
    contrast = painting.contrast()
    ink = painting.ink(canvas.background, contrast)
    lines = list(zip(goods, prices, strict=True))
    written = [("total", total), *lines] if aside else [*lines, ("total", total)]
    for k, (good, price) in enumerate(written):
        y = start + 8 + (k + 0.5) * room
        at, beside = (left + height * 2.5, left) if aside else (left, right)
        canvas.text(good, at, y, height, ink, "lm")
        canvas.text(str(price), beside, y, height, ink, "lm" if aside else "rm")
        if good == "total":
            edge = y + room / 2 if aside else y - room / 2
            canvas.line([(left, edge), (right, edge)], ink, 1.2)

    apart = {"height": height, "n": n, "contrast": contrast, "distance": room}
    numbers = [*prices, total]
    for k in rng.sample(range(n), 2):
        painting.ask("value", wordings.price_of(goods[k]), prices[k], numbers, **apart)
    k = rng.randrange(n)
    painting.ask("item", wordings.item_at(prices[k]), goods[k], goods, **apart)
    painting.ask("total", wordings.value_of("the total"), total, **apart)  # the largest of all options
    for truth in (True, False):
        good = rng.choice(goods if truth else [g for g in GOODS if g not in goods])
        asked = wordings.exists(f"{good} on the receipt", good in PLURALS)
        painting.ask("exists", asked, yes_no(truth), **apart)
    listed = ", ".join(f"{good} {price}" for good, price in lines)
    painting.describe(f"receipt {shop}: {listed}, total {total}")
    for good, price in lines:
        painting.look_up(f"{good} price", price)
        painting.look_up(f"{price} item", good)
    painting.look_up("total", total)
    return painting


def _form(rng: random.Random, painting: Painting) -> Painting:
    canvas, stacked = painting.canvas, painting.style.unseen_layout
    head = rng.choice(SIGNS)
    start, end = _heading(rng, painting, head)
    n = rng.randint(3, max(3, min(5, int((end - start - 10) / 24) - 1)))
    room = (end - start - 10) / (n + 1)
    names = rng.sample(list(_FIELDS), n)
    fields = {name: rng.choice(_FIELDS[name]) for name in names}
    height = min(painting.letters(18), room * (0.3 if stacked else 0.5))
    height = canvas.fit([*fields.values()], height, canvas.width * 0.4)
    height = canvas.fit([*fields], height, canvas.width * 0.46 - 20)
    contrast = painting.contrast()
    ink = painting.ink(canvas.background, contrast)
    for k, name in enumerate(names):
        y = start + 8 + k * room
        if stacked:
            canvas.text(name, 14, y, height, ink, "lt")
            box = (14.0, y + room * 0.42, canvas.width - 14, y + room * 0.9)
        else:
            box = (canvas.width * 0.46, y, canvas.width - 14, y + room * 0.84)
            canvas.text(name, 14, (box[1] + box[3]) / 2, height, ink, "lm")
        canvas.rectangle(box, None, ink)
        canvas.text(fields[name], box[0] + 6, (box[1] + box[3]) / 2, height, ink, "lm")
    ticked = _boxes(rng, painting, start + 8 + n * room, room)

    told = {"height": height, "n": n, "contrast": contrast}
    for name in rng.sample(names, 3):
        painting.ask("field", wordings.reads(f"the {name} field"), fields[name], _FIELDS[name], **told)
    for truth in (True, False):
        absent = [name for name in _FIELDS if name not in fields]
        if truth or absent:
            name = rng.choice(names if truth else absent)
            asked = wordings.exists(f"a field for the {name}")
            painting.ask("exists", asked, yes_no(truth), **told)
    for month, set_ in ticked.items():
        asked = wordings.is_so(f"the box of {month}", "ticked")
        painting.ask("ticked", asked, yes_no(set_), size=min(room * 0.5, _BOX), n=len(ticked))
        painting.look_up(f"{month} box", "tick" if set_ else "none")
    listed = ", ".join(f"{name} {value}" for name, value in fields.items())
    painting.describe(f"form {head}: {listed}, {' '.join(m for m, t in ticked.items() if t) or 'no'} tick")
    for name, value in fields.items():
        painting.look_up(f"{name} field", value)
    return painting


def _boxes(rng: random.Random, painting: Painting, y: float, room: float) -> dict[str, bool]:
    """Boxes side by side, each before its month; month -> whether it is ticked."""
    canvas = painting.canvas
    months = rng.sample(MONTHS, rng.randint(2, 4))
    wide, side = (canvas.width - 24) / len(months), min(room * 0.5, _BOX)
    height = canvas.fit(months, min(side * 0.8, 16.0), wide - side - 8)
    ticked = {}
    for k, month in enumerate(months):
        x, middle = 12 + k * wide, y + room * 0.4
        box = (x, middle - side / 2, x + side, middle + side / 2)
        canvas.rectangle(box, "white", "black", 1.2)
        canvas.text(month, x + side + 3, middle, height, painting.readable(canvas.background), "lm")
        ticked[month] = rng.random() < 0.5
        if ticked[month]:
            canvas.line(
                [(box[0] + 2, middle), (x + side * 0.4, box[3] - 2), (box[2] - 1, box[1] + 1)], "black", 2
            )
            canvas.mark("tick", "black", box, "tick")
    return ticked
