"""Receipts and forms: a large head, small lines, a few that stand out."""

from __future__ import annotations

import random

from data.scalebench.families.paint import Painting, fresh, log_uniform, readable, yes_no
from data.scalebench.vocabulary import CITIES, DAYS, GOODS, NAMES, SIGNS

_PAPER = ("white", "white", "yellow", "grey")


def paint(rng: random.Random) -> Painting:
    return _form(rng) if rng.random() < 0.35 else _receipt(rng)


def _header(rng: random.Random, painting: Painting, word: str) -> float:
    """A coloured band with the heading; returns its lower edge."""
    canvas = painting.canvas
    size = log_uniform(rng, 24, 46)
    band = rng.choice(("red", "blue", "green", "black", "purple"))
    canvas.block("box", band, (0, 0, canvas.width, size * 1.5))
    canvas.text(word, canvas.width / 2, size * 0.72, size, readable(band), "mm")
    painting.ask(
        "band",
        rng.choice(("What colour is the band at the top?", "Which colour has the head of the paper?")),
        band,
    )
    return size * 1.5


def _receipt(rng: random.Random) -> Painting:
    painting = fresh(rng, _PAPER)
    canvas = painting.canvas
    shop = rng.choice(SIGNS)
    y = _header(rng, painting, shop) + 10
    n = rng.randint(2, 6)
    goods = rng.sample(GOODS, n)
    prices = rng.sample(range(1, 60), n)
    total, paid, day = rng.randrange(60, 100), rng.choice(("cash", "card")), rng.choice(DAYS)
    room = (canvas.height - y) / (n + 2.6)
    size = max(10.5, min(log_uniform(rng, 13, 28), room * 0.8))
    for good, price in zip(goods, prices, strict=True):
        canvas.text(good, 22, y, size, "black", "la")
        canvas.text(str(price), canvas.width - 24, y, size, "black", "ra")
        y += room
    canvas.line([(16, y), (canvas.width - 16, y)], "black", 1.5)
    big = min(size * rng.uniform(1.0, 1.8), room * 1.0)
    canvas.text("total", 22, y + 6, big, "black", "la")
    canvas.text(str(total), canvas.width - 24, y + 6, big, "black", "ra")
    canvas.text(day, 22, canvas.height - 6, size, "black", "ld")
    canvas.text(paid, canvas.width - 24, canvas.height - 6, size, "black", "rd")

    painting.ask(
        "shop",
        rng.choice(
            ("What is the name of the shop?", "Where is the receipt from?", "Which word is at the top?")
        ),
        shop,
    )
    text = rng.choice(
        ("What is the total?", "How much was paid in total?", "What is the sum of the receipt?")
    )
    painting.ask("total", text, total, height=big)
    for k in rng.sample(range(n), 2):
        text = rng.choice(
            (
                f"How much is the {goods[k]}?",
                f"What does the {goods[k]} cost?",
                f"What is the price of {goods[k]}?",
            )
        )
        painting.ask("price", text, prices[k], height=size, n=n)
    k = rng.randrange(n)
    text = rng.choice((f"Which item costs {prices[k]}?", f"What was bought for {prices[k]}?"))
    painting.ask("item", text, goods[k], height=size, n=n)
    good = rng.choice(goods) if rng.random() < 0.5 else rng.choice(GOODS)
    text = rng.choice(
        (f"Is there {good} on the receipt?", f"Was {good} bought?", f"Does the receipt list {good}?")
    )
    painting.ask("exists", text, yes_no(good in goods), height=size, n=n)
    painting.ask(
        "count",
        rng.choice(("How many items were bought?", "How many items are listed?")),
        n,
        height=size,
        n=n,
    )
    text = rng.choice(("Was it paid by cash or card?", "How was it paid, cash or card?"))
    painting.ask("paid", text, paid, height=size)
    painting.ask(
        "day", rng.choice(("On which day was it bought?", "Which day is on the receipt?")), day, height=size
    )
    painting.ask(
        "first",
        rng.choice(("What is the first item?", "Which item is listed first?")),
        goods[0],
        height=size,
        n=n,
    )
    lines = ", ".join(f"{g} {p}" for g, p in zip(goods, prices, strict=True))
    painting.describe("Describe the picture.", f"receipt {shop}: {lines}, total {total}, {day} {paid}")
    for good, price in zip(goods, prices, strict=True):
        painting.look_up(f"{good} price", price)
        painting.look_up(f"{price} item", good)
    return painting


def _form(rng: random.Random) -> Painting:
    painting = fresh(rng, _PAPER)
    canvas = painting.canvas
    head = rng.choice(SIGNS)
    y = _header(rng, painting, head) + 14
    fields: dict[str, str] = {
        "name": rng.choice(NAMES),
        "city": rng.choice(CITIES),
        "day": rng.choice(DAYS),
        "age": str(rng.randrange(18, 90)),
        "item": rng.choice(GOODS),
    }
    names = rng.sample(list(fields), rng.randint(3, 5))
    room = (canvas.height - y) / (len(names) + 1.2)
    size = max(10.5, min(log_uniform(rng, 13, 28), room * 0.7))
    for name in names:
        canvas.text(name, 20, y, size, "black", "la")
        canvas.rectangle((canvas.width * 0.4, y - 1, canvas.width - 16, y + size * 1.45), None, "black")
        canvas.text(fields[name], canvas.width * 0.4 + 8, y, size, "black", "la")
        y += room
    ticked = rng.random() < 0.5
    canvas.rectangle((20, y, 20 + size, y + size), None, "black", 1.5)
    if ticked:
        canvas.block(
            "tick", "black", (20 + size * 0.25, y + size * 0.25, 20 + size * 0.75, y + size * 0.75), "tick"
        )

    painting.ask(
        "heading", rng.choice(("What is the heading of the form?", "Which word is at the top?")), head
    )
    phrasing = {
        "name": ("What is the name on the form?", "Who filled in the form?"),
        "city": ("Which city is on the form?", "What does the city field say?"),
        "day": ("Which day is on the form?", "What does the day field say?"),
        "age": ("What is the age on the form?", "How old is the person?"),
        "item": ("Which item is on the form?", "What does the item field say?"),
    }
    for name in names:
        painting.ask(f"field-{name}", rng.choice(phrasing[name]), fields[name], height=size, n=len(names))
    text = rng.choice(("Is the box ticked?", "Is there a tick in the box at the bottom?"))
    painting.ask("ticked", text, yes_no(ticked), size=size)
    painting.ask(
        "fields",
        rng.choice(("How many fields does the form have?", "Count the fields.")),
        len(names),
        n=len(names),
    )
    lines = ", ".join(f"{name} {fields[name]}" for name in names)
    painting.describe("Describe the picture.", f"form {head}: {lines}, {'tick' if ticked else 'no tick'}")
    for name in names:
        painting.look_up(f"{name} field", fields[name])
    return painting
