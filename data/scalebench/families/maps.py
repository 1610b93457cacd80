"""Floor plans and town maps: coloured areas with names, symbols in them, and a legend. North is up."""

from __future__ import annotations

import random
from collections import Counter

from data.scalebench.families import layout, wordings
from data.scalebench.families.layout import Map, Symbol
from data.scalebench.families.paint import LEAST, SMALLEST, Painting, fresh, yes_no
from data.scalebench.labels import Box
from data.scalebench.style import Style

KINDS = {
    "colour": 0.2, "named": 0.17, "direction": 0.2, "symbol": 0.17, "legend": 0.15, "next": 0.55,
    "place": 0.25,
}  # fmt: skip
ASKED: dict[str, float] = {}
_PAPER = ("white", "white", "grey", "yellow")
_CROWDED = 0.4
"""Share of the maps that fill only a part of the picture."""


def paint(rng: random.Random, style: Style) -> Painting:
    painting = fresh(rng, style, _PAPER, square=0.8)
    canvas = painting.canvas
    indoors = rng.random() < 0.5
    ink = rng.choice([c for c in ("black", "red", "blue", "white", "purple") if c != canvas.background])
    meanings = layout.meanings_of(rng, painting, indoors)
    legend = min(painting.letters(high=18), canvas.height / 14) if rng.random() < 0.75 else 0.0
    if legend:
        share = canvas.width / len(meanings) - 2.5 * legend
        legend = max(LEAST, canvas.fit(meanings, legend, share))
    frame, legend_box, upright = layout.frame_and_legend(rng, painting, meanings, legend)
    grid = layout.grid_in(rng, painting, indoors, frame)
    if rng.random() < _CROWDED:
        frame = layout.small(rng, painting, indoors, grid, frame)
    symbols = layout.symbols_in(rng, frame, meanings, grid)
    areas = layout.areas_in(rng, painting, indoors, grid, frame, ink)
    drawn = Map("room" if indoors else "area", areas, symbols, ink, legend, max(0.45, painting.contrast()))
    _draw(rng, painting, drawn, indoors)
    if legend:
        _draw_legend(painting, drawn, legend_box, upright)
    _ask(rng, painting, drawn)
    listed = ", ".join(f"{area.colour} {area.name}" for area in areas.values())
    found = "".join(f", {s.shape} {s.meaning if legend else ''} {areas[s.at].name}" for s in symbols)
    painting.describe(f"{drawn.noun} map: {listed}{found}".replace("  ", " "))
    _look_ups(painting, drawn)
    return painting


# --- drawing --------------------------------------------------------------------------------------


def _draw(rng: random.Random, painting: Painting, drawn: Map, indoors: bool) -> None:
    canvas = painting.canvas
    wall = painting.ink(canvas.background)
    for at, area in drawn.areas.items():
        x0, y0, x1, y1 = area.box
        canvas.block("room", area.colour, area.box, f"{area.colour} room")
        if indoors:
            canvas.rectangle(area.box, None, wall, 2)
            if at[1]:  # a door to the room on the left
                door = rng.uniform(y0 + 6, y1 - 20)
                canvas.line([(x0, door), (x0, door + 12)], canvas.background, 3)
        symbol = next((s for s in drawn.symbols if s.at == at), None)
        middle, low = (y0 + y1) / 2, False
        if symbol:
            low = rng.random() < 0.5
            middle = y0 + (y1 - y0) * (0.7 if low else 0.3)
            reach = symbol.size / 2
            x = rng.uniform(x0 + reach + 5, x1 - reach - 5)
            y = y0 + (y1 - y0) * (0.27 if low else 0.73)
            canvas.shape(symbol.shape, drawn.ink, x, y, reach)
        colour = painting.ink(area.colour, drawn.contrast)
        canvas.text(area.name, (x0 + x1) / 2, middle, area.height, colour, "mm")


def _draw_legend(painting: Painting, drawn: Map, box: Box, upright: bool) -> None:
    """Each symbol with the word that it stands for, side by side or one below the other."""
    canvas, height = painting.canvas, drawn.legend_height
    step = (box[2] - box[0]) / len(drawn.symbols)
    for k, symbol in enumerate(drawn.symbols):
        x = box[0] + (0 if upright else k * step) + height * 0.7
        y = box[1] + height * (1.2 + 2.2 * k) if upright else (box[1] + box[3]) / 2
        canvas.shape(symbol.shape, drawn.ink, x, y, max(SMALLEST, height * 0.6))
        canvas.text(symbol.meaning, x + height * 1.3, y, height, painting.ink(canvas.background), "lm")


# --- asking ---------------------------------------------------------------------------------------


def _ask(rng: random.Random, painting: Painting, drawn: Map) -> None:
    canvas, areas, noun, sizes = painting.canvas, drawn.areas, drawn.noun, drawn.sizes
    names = [area.name for area in areas.values()]
    counts = Counter(area.colour for area in areas.values())
    for area in rng.sample(list(areas.values()), 2):
        painting.ask(
            "colour", wordings.colour_of(f"the {area.name}"), area.colour, list(counts), **sizes(area)
        )
    single = [area for area in areas.values() if counts[area.colour] == 1]
    for area in rng.sample(single, min(2, len(single))):
        asked = (
            f"Which {noun} is {area.colour}?",
            f"What is the {area.colour} {noun}?",
            f"Read the name of the {area.colour} {noun}.",
            f"What is the name of the {area.colour} {noun}?",
        )
        painting.ask("named", asked, area.name, names, **sizes(area))
    # An area further that way would be another answer: only the last one of its row or column is asked for.
    last = [found for found in layout.neighbours(drawn) if layout.beyond(found[2], found[1]) not in areas]
    for at, side, there in rng.sample(last, 2):
        area, other = areas[at], areas[there]
        wrong = [areas[other].name for other in areas if not layout.lies(other, side, at)]
        x = f"{side} of the {area.name}"
        asked = (
            f"Which {noun} is {x}?",
            f"What is {x}?",
            f"Which {noun} lies {x}?",
            f"What do you find {x}?",
        )
        painting.ask("direction", asked, other.name, wrong, **sizes(area, other))
    for symbol in rng.sample(drawn.symbols, min(2, len(drawn.symbols))):
        _ask_about_symbol(painting, drawn, symbol, names)
    _ask_next(rng, painting, drawn)
    clear = [area for area in areas.values() if canvas.clearance(*area.centre) > 5]
    if clear:
        area = rng.choice(clear)
        place, distance = canvas.place(*area.centre), canvas.clearance(*area.centre)
        painting.ask("place", wordings.where(f"the {area.name}"), place, distance=distance, **sizes(area))


def _ask_about_symbol(painting: Painting, drawn: Map, symbol: Symbol, names: list[str]) -> None:
    area, noun = drawn.areas[symbol.at], drawn.noun
    asked = (
        f"In which {noun} is the {symbol.shape}?",
        f"Which {noun} has the {symbol.shape}?",
        f"The {symbol.shape} is in which {noun}?",
        f"Which {noun} is the {symbol.shape} in?",
    )
    painting.ask("symbol", asked, area.name, names, size=symbol.size, **drawn.sizes(area))
    if drawn.legend_height:
        asked = (
            f"What does the {symbol.shape} stand for?",
            f"What does the {symbol.shape} mean?",
            f"Which word does the {symbol.shape} stand for?",
            f"What is the meaning of the {symbol.shape}?",
        )
        others = [s.meaning for s in drawn.symbols]
        painting.ask("legend", asked, symbol.meaning, others, height=drawn.legend_height, n=len(others))


def _ask_next(rng: random.Random, painting: Painting, drawn: Map) -> None:
    """Whether two areas share a side. Corner to corner is neither yes nor no."""
    beside = [(at, there) for at, _, there in layout.neighbours(drawn)]
    apart = [
        (one, other)
        for one in drawn.areas
        for other in drawn.areas
        if max(abs(one[0] - other[0]), abs(one[1] - other[1])) > 1
    ]
    if not apart:
        return
    truth = rng.random() < 0.5
    one, other = (drawn.areas[at] for at in rng.choice(beside if truth else apart))
    asked = wordings.is_so(f"the {one.name}", f"next to the {other.name}")
    painting.ask("next", asked, yes_no(truth), **drawn.sizes(one, other))


def _look_ups(painting: Painting, drawn: Map) -> None:
    areas = drawn.areas
    counts = Counter(area.colour for area in areas.values())
    for area in areas.values():
        painting.look_up(f"{area.name} colour", area.colour)
        if counts[area.colour] == 1:
            painting.look_up(f"{area.colour} {drawn.noun}", area.name)
        painting.look_up(f"{area.name} place", painting.canvas.place(*area.centre))
    for at, side, there in layout.neighbours(drawn):
        painting.look_up(f"{areas[at].name} {side}", areas[there].name)
    for symbol in drawn.symbols:
        painting.look_up(f"{symbol.shape} {drawn.noun}", areas[symbol.at].name)
        if drawn.legend_height:
            painting.look_up(f"{symbol.shape} stands for", symbol.meaning)
