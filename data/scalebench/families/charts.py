"""Bar and line charts: the shape shows at a glance, labels and values need detail."""

from __future__ import annotations

import random

from data.scalebench.families.paint import Painting, fresh, log_uniform, yes_no
from data.scalebench.vocabulary import CITIES, DAYS, GOODS

_COLOURS = ("red", "blue", "green", "orange", "purple", "brown")


def paint(rng: random.Random) -> Painting:
    painting = fresh(rng, ("white", "white", "yellow"), square=0.85)
    bars = rng.random() < 0.65
    pool = rng.choice((GOODS, GOODS, DAYS, CITIES))
    n = rng.randint(2, 5 if pool is not DAYS else 6)
    labels = sorted(rng.sample(pool, n), key=pool.index) if pool is DAYS else rng.sample(pool, n)
    values = rng.sample(range(5, 100), n)
    title = rng.choice(CITIES if pool is not CITIES else ("sale", "shop", "farm"))
    colours = [rng.choice(_COLOURS)] * n
    if bars and rng.random() < 0.5:
        colours = rng.sample(_COLOURS * 2, n)
    size = _draw(rng, painting, bars, labels, values, title, colours)
    _ask(rng, painting, bars, labels, values, title, colours, size)
    kind = "bar" if bars else "line"
    listed = ", ".join(f"{label} {value}" for label, value in zip(labels, values, strict=True))
    painting.describe("Describe the picture.", f"{kind} chart {title}: {listed}")
    for label, value, colour in zip(labels, values, colours, strict=True):
        painting.look_up(f"{label} value", value)
        painting.look_up(f"{value} label", label)
        if bars:
            painting.look_up(f"{label} colour", colour)
    return painting


def _draw(
    rng: random.Random,
    painting: Painting,
    bars: bool,
    labels: list[str],
    values: list[int],
    title: str,
    colours: list[str],
) -> float:
    """Draws the chart; returns the font size of the labels, in frame units."""
    canvas = painting.canvas
    n = len(labels)
    left, right = 16.0, canvas.width - 12
    slot = (right - left) / n
    size = log_uniform(rng, 13, 28)
    widest = max(canvas.text_size(label, size)[0] for label in labels)
    size = max(10.5, min(size, size * slot * 0.92 / widest))
    top, bottom = 62.0, canvas.height - 10 - 1.35 * size
    canvas.text(title, canvas.width / 2, 8, log_uniform(rng, 18, 40), "black", "ma")
    canvas.line([(left, top), (left, bottom), (right, bottom)], "black", 1.5)
    points = []
    for k in range(n):
        x = left + (k + 0.5) * slot
        y = bottom - (bottom - top) * values[k] / 100
        points.append((x, y))
        if bars:
            half = slot * 0.32
            canvas.block("bar", colours[k], (x - half, y, x + half, bottom), f"{colours[k]} bar")
        canvas.text(labels[k], x, bottom + 3, size, "black", "ma")
    if not bars:
        canvas.line(points, colours[0], 3)
    for (x, y), value, colour in zip(points, values, colours, strict=True):
        if not bars:
            canvas.block("marker", colour, (x - 5, y - 5, x + 5, y + 5))
        canvas.text(str(value), x, y - (2 if bars else 8), size, "black", "mb")
    return size


def _ask(
    rng: random.Random, painting: Painting, bars: bool, labels: list[str], values: list[int], title: str,
    colours: list[str], size: float,
) -> None:  # fmt: skip
    n = len(labels)
    noun = "bar" if bars else "point"
    text = rng.choice(("Is this a bar chart or a line chart?", "What kind of chart is it, bar or line?"))
    painting.ask("type", text, "bar" if bars else "line")
    painting.ask("title", rng.choice(("What is the title of the chart?", "What does the title say?")), title)
    high, low = labels[values.index(max(values))], labels[values.index(min(values))]
    text = rng.choice(
        (
            f"Which label has the highest {noun}?",
            "Which label has the largest value?",
            f"What is the label of the highest {noun}?",
        )
    )
    painting.ask("highest", text, high, height=size, n=n)
    text = rng.choice((f"Which label has the lowest {noun}?", "Which label has the smallest value?"))
    painting.ask("lowest", text, low, height=size, n=n)
    for k in rng.sample(range(n), min(n, 2)):
        text = rng.choice(
            (
                f"What is the value of {labels[k]}?",
                f"How much is {labels[k]}?",
                f"Which value does {labels[k]} have?",
            )
        )
        painting.ask("value", text, values[k], height=size, n=n)
    text = rng.choice((f"How many {noun}s are there?", f"Count the {noun}s of the chart."))
    painting.ask("count", text, n, n=n)
    one, two = rng.sample(range(n), 2)
    word, truth = rng.choice((("higher", values[one] > values[two]), ("lower", values[one] < values[two])))
    text = rng.choice(
        (
            f"Is {labels[one]} {word} than {labels[two]}?",
            f"Is the value of {labels[one]} {word} than that of {labels[two]}?",
        )
    )
    painting.ask("compare", text, yes_no(truth), height=size, gap=abs(values[one] - values[two]), n=n)
    if bars and len(set(colours)) > 1:
        k = rng.randrange(n)
        text = rng.choice(
            (f"What colour is the bar of {labels[k]}?", f"Which colour has the {labels[k]} bar?")
        )
        painting.ask("colour", text, colours[k], height=size, n=n)
        place = rng.choice(("first", "last"))
        k = 0 if place == "first" else n - 1
        painting.ask("colour-place", f"What colour is the {place} bar?", colours[k], n=n)
    else:
        text = rng.choice(
            (f"What colour is the {'chart' if bars else 'line'}?", "Which colour is the data drawn in?")
        )
        painting.ask("colour-all", text, colours[0])
    slope = values[-1] > values[0]
    text = rng.choice(
        (f"Is the last {noun} higher than the first?", "Does the chart end higher than it starts?")
    )
    painting.ask("trend", text, yes_no(slope), gap=abs(values[-1] - values[0]))
