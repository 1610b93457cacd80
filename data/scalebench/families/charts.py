"""Bar, line and pie charts: the shape shows at a glance, labels, values and legends need detail."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from data.scalebench.families import wordings
from data.scalebench.families.paint import LEAST, Painting, fresh, yes_no
from data.scalebench.style import Style
from data.scalebench.vocabulary import CHARTS, CITIES, DAYS, GOODS, MONTHS

KINDS = {
    "heading": 0.15, "type": 0.42, "value": 0.04, "most": 0.06, "more": 0.52, "colour": 0.15, "label": 0.06,
}  # fmt: skip
ASKED = {"label": 3.0, "more": 2.0, "most": 0.5, "value": 0.4}
_PAPER = ("white", "white", "yellow")
_COLOURS = ("red", "blue", "green", "orange", "purple", "brown", "black", "grey")
_FULL = 0.5
"""Share of the charts of one colour that have many values."""
_CLEAR = {"bar": 4, "line": 4, "pie": 6}
"""Least difference of values, of 100, that is asked about where it can only be seen."""


@dataclass
class _Chart:
    """labels[k] has values[k] and is drawn in colours[k]; ``many``: in colours of their own."""

    kind: str
    title: str
    labels: list[str]
    values: list[int]
    colours: list[str]
    many: bool
    legend: bool  # labels stand in a legend, not at the data
    printed: bool  # values are written at the data
    height: float = 0.0  # of the labels' letters
    digits: float | None = None  # that of the values, where it is another


def paint(rng: random.Random, style: Style) -> Painting:
    painting = fresh(rng, style, _PAPER, square=0.85)
    canvas = painting.canvas
    if rng.random() < 0.2:
        canvas.noise(rng, rng.uniform(2, 8))
    chart = _drawn(rng, painting)
    low = min(26.0, canvas.height * 0.09)
    title = canvas.fit([chart.title], painting.letters(low, low=11), canvas.width * 0.6)
    base = canvas.height - 4 - 0.35 * title if style.unseen_layout else 5 + title  # tails hang below it
    canvas.text(chart.title, canvas.width / 2, base, title, "black", "ms")
    top, bottom = (8.0, base - title - 9) if style.unseen_layout else (title + 14, canvas.height - 6)
    chart.height = painting.letters(24)
    right = canvas.width - 8
    if chart.legend:
        right, bottom = _legend(painting, chart, right, top, bottom)
    if chart.kind == "pie":
        _pie(painting, chart, (8 + right) / 2, (top + bottom) / 2, min(right - 12, bottom - top - 4) / 2)
    elif style.unseen_layout and chart.kind == "bar":
        _lying(painting, chart, right, top, bottom)
    else:
        _standing(painting, chart, right, top, bottom)
    _ask(rng, painting, chart, title)
    listed = ", ".join(f"{label} {value}" for label, value in zip(chart.labels, chart.values, strict=True))
    painting.describe(f"{chart.kind} chart {chart.title}: {listed}")
    return painting


def _drawn(rng: random.Random, painting: Painting) -> _Chart:
    kind = rng.choice(("bar", "bar", "line", "line", "pie"))
    pool = rng.choice((GOODS, GOODS, DAYS, MONTHS))
    many = kind == "pie" or (kind == "bar" and rng.random() < 0.6)
    most = 5 if kind == "pie" else 7
    full = not many and rng.random() < _FULL  # up to as many as the months of a year
    n = rng.randint(most, min(12, len(pool))) if full else rng.randint(2, most)
    labels = sorted(rng.sample(pool, n), key=pool.index) if pool in (DAYS, MONTHS) else rng.sample(pool, n)
    free = [c for c in _COLOURS if c != painting.canvas.background]
    colours = rng.sample(free, n) if many else [rng.choice(free)] * n
    legend = kind == "pie" or (many and rng.random() < 0.5)
    title, printed = rng.choice(CITIES), rng.random() < 0.8
    # A pie may turn out to have no room for numbers.
    clear = 0 if printed and kind != "pie" else _CLEAR[kind]
    values = _values(rng, kind, n)
    while _lead(values) < clear:
        values = _values(rng, kind, n)
    return _Chart(kind, title, labels, values, colours, many, legend, printed)


def _values(rng: random.Random, kind: str, n: int) -> list[int]:
    return _shares(rng, n) if kind == "pie" else rng.sample(range(5, 100), n)


def _lead(values: list[int]) -> int:
    """Of the largest value before the next."""
    first, second = sorted(values, reverse=True)[:2]
    return first - second


def _shares(rng: random.Random, n: int) -> list[int]:
    """``n`` different numbers of at least 9 that sum to 100."""
    while True:
        cuts = sorted(rng.sample(range(1, 100), n - 1))
        shares = [b - a for a, b in zip([0, *cuts], [*cuts, 100], strict=True)]
        if min(shares) >= 9 and len(set(shares)) == n:
            return shares


def _legend(
    painting: Painting, chart: _Chart, right: float, top: float, bottom: float
) -> tuple[float, float]:
    """Patches of colour beside their labels, on the right or in narrow pictures below; returns the right
    and the lower edge of what is left free."""
    canvas, n = painting.canvas, len(chart.labels)
    narrow = canvas.width < 220
    room = (bottom - top) * (0.4 if narrow else 1.0) / n
    height = canvas.fit(chart.labels, min(chart.height, room * 0.6, 18.0), canvas.width * 0.3)
    chart.height = height
    wide = max(canvas.text_size(label, height)[0] for label in chart.labels)
    left, pitch = right - wide - height * 1.5, min(room, height * painting.rng.uniform(1.5, 2.2))
    first = bottom - pitch * (n - 0.5) if narrow else (top + bottom - pitch * (n - 1)) / 2
    for k, (label, colour) in enumerate(zip(chart.labels, chart.colours, strict=True)):
        y = first + k * pitch
        canvas.block("box", colour, (left, y - height / 2, left + height, y + height / 2), f"{colour} box")
        canvas.text(label, left + height * 1.4, y, height, "black", "lm")
    return (right, first - pitch) if narrow else (left - 8, bottom)


def _standing(painting: Painting, chart: _Chart, right: float, top: float, bottom: float) -> None:
    """Bars from the bottom, or a line with points."""
    canvas, left = painting.canvas, 14.0
    while not chart.legend and len(chart.labels) > 2 and _crowded(painting, chart, right - left):
        low = sorted(chart.values)[-3]  # the two largest stay
        last = max(k for k, value in enumerate(chart.values) if value <= low)
        del chart.labels[last], chart.values[last], chart.colours[last]
    n = len(chart.labels)
    slot = (right - left) / n
    words = [str(v) for v in chart.values] if chart.legend else chart.labels
    height = max(LEAST, canvas.fit(words, min(chart.height, (bottom - top) * 0.16), slot * 0.88))
    chart.height = height if not chart.legend else min(height, chart.height)
    base = bottom if chart.legend else bottom - 1.5 * height
    peak = top + 1.6 * height
    canvas.line([(left, top), (left, base), (right, base)], "black", 1.5)
    points = []
    for k, (label, value, colour) in enumerate(zip(chart.labels, chart.values, chart.colours, strict=True)):
        x, y = left + (k + 0.5) * slot, base - (base - peak) * value / 100
        points.append((x, y))
        if chart.kind == "bar":
            half = slot * 0.32
            canvas.block("bar", colour, (x - half, y, x + half, base - 1), f"{colour} bar")
        if not chart.legend:
            canvas.text(label, x, base + 1.35 * height, height, "black", "ms")
    if chart.kind == "line":
        canvas.line(points, chart.colours[0], 2.5)
        for x, y in points:
            canvas.block("marker", chart.colours[0], (x - 4, y - 4, x + 4, y + 4))
    if chart.printed:
        for (x, y), value in zip(points, chart.values, strict=True):
            above = y - (3 if chart.kind == "bar" else 7)
            if chart.kind == "line":  # so that the line does not run through the number
                half = canvas.text_size(str(value), height)[0] / 2 + 1
                canvas.rectangle((x - half, above - height - 1, x + half, above), canvas.background)
            canvas.text(str(value), x, above, height, "black", "ms")


def _crowded(painting: Painting, chart: _Chart, room: float) -> bool:
    """Whether the labels side by side would have to be smaller than the smallest letters."""
    return painting.canvas.fit(chart.labels, LEAST, 0.88 * room / len(chart.labels)) < LEAST


def _lying(painting: Painting, chart: _Chart, right: float, top: float, bottom: float) -> None:
    """The layout that is kept back: bars from the left, their labels before them."""
    canvas, n = painting.canvas, len(chart.labels)
    slot = (bottom - top) / n
    height = canvas.fit(chart.labels, min(chart.height, slot * 0.6), right * 0.35)
    chart.height = height if not chart.legend else min(height, chart.height)
    widest = max(canvas.text_size(label, height)[0] for label in chart.labels)
    left = 10.0 if chart.legend else 16 + widest
    for k, (label, value, colour) in enumerate(zip(chart.labels, chart.values, chart.colours, strict=True)):
        y, half = top + (k + 0.5) * slot, slot * 0.32
        end = left + (right - left - 2.2 * height) * value / 100
        canvas.block("bar", colour, (left, y - half, end, y + half), f"{colour} bar")
        if not chart.legend:
            canvas.text(label, left - 5, y, height, "black", "rm")
        if chart.printed:
            canvas.text(str(value), end + 4, y, height, "black", "lm")
    canvas.line([(left, top), (left, bottom)], "black", 1.5)


def _pie(painting: Painting, chart: _Chart, x: float, y: float, radius: float) -> None:
    canvas = painting.canvas
    start = painting.rng.uniform(0, 360)
    chart.printed &= radius > 45
    chart.digits = max(LEAST, min(chart.height, radius * 0.2))
    for value, colour in zip(chart.values, chart.colours, strict=True):
        end = start + 3.6 * value
        canvas.slice(colour, x, y, radius, start, end)
        if chart.printed:
            middle = math.radians((start + end) / 2)
            at = (x + 0.68 * radius * math.cos(middle), y + 0.68 * radius * math.sin(middle))
            canvas.text(str(value), *at, chart.digits, painting.readable(colour), "mm")
        start = end


def _ask(rng: random.Random, painting: Painting, chart: _Chart, title: float) -> None:
    labels, values, colours, n = chart.labels, chart.values, chart.colours, len(chart.labels)
    told = {"height": chart.height, "n": n}
    painting.ask("type", _kind(), chart.kind, n=n)
    painting.ask("heading", wordings.says("the heading"), chart.title, CITIES, height=title)
    painting.look_up("heading", chart.title)
    if chart.printed:
        for k in rng.sample(range(n), 2):
            read = {**told, "height": min(chart.height, chart.digits or chart.height)}
            painting.ask("value", wordings.value_of(labels[k]), values[k], values, **read)
    most = labels[values.index(max(values))]
    painting.ask("most", wordings.most(), most, labels, gap=_lead(values), **told)
    clear = 0 if chart.printed else _CLEAR[chart.kind]
    pairs = [(a, b) for a in range(n) for b in range(n) if a != b and abs(values[a] - values[b]) >= clear]
    one, other = rng.choice(pairs)
    truth, apart = values[one] > values[other], abs(values[one] - values[other])
    painting.ask("more", wordings.more(labels[one], labels[other]), yes_no(truth), gap=apart, **told)
    noun = {"bar": "bar", "pie": "slice", "line": "line"}[chart.kind]
    if chart.kind != "line":
        k = rng.randrange(n)
        asked = wordings.colour_of(f"the {noun} of {labels[k]}")
        painting.ask("colour", asked, colours[k], colours, **told)
    if chart.many:
        k = rng.randrange(n)
        painting.ask("label", wordings.label_of(f"the {colours[k]} {noun}"), labels[k], labels, **told)
    elif chart.kind == "line":
        painting.ask("colour", wordings.colour_of("the line"), colours[0], _COLOURS, n=n)
    for label, value, colour in zip(labels, values, colours, strict=True):
        if chart.printed:
            painting.look_up(f"{label} value", value)
        if chart.many:
            painting.look_up(f"{label} colour", colour)
            painting.look_up(f"{colour} label", label)


def _kind() -> wordings.Wordings:
    listed = f"{CHARTS[0]}, {CHARTS[1]} or {CHARTS[2]}"
    return (
        f"What kind of chart is this, {listed}?",
        f"Is this a {listed} chart?",
        f"Which chart is this, {listed}?",
        f"Which kind of chart can you see, {listed}?",
    )
