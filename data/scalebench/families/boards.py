"""Departure boards: light letters on dark, one bus a line, with a light. Held out: shift-families alone."""

from __future__ import annotations

import random

from data.scalebench.canvas import Canvas
from data.scalebench.families import wordings
from data.scalebench.families.paint import LEAST, Painting, fresh, log_uniform, yes_no
from data.scalebench.style import Style
from data.scalebench.vocabulary import CITIES, DAYS

KINDS = {"value": 0.04, "item": 0.16, "day": 0.17, "colour": 0.24, "exists": 0.52, "count": 0.22}
ASKED: dict[str, float] = {}
_BOARDS = ("black", "blue", "brown", "purple")
_LIGHTS = ("red", "green", "yellow", "white", "orange")


def paint(rng: random.Random, style: Style) -> Painting:
    painting = fresh(rng, style, _BOARDS)
    canvas = painting.canvas
    if rng.random() < 0.4:
        canvas.noise(rng, rng.uniform(2, 10))
    if rng.random() < 0.4:
        canvas.tilt(rng, rng.uniform(0.02, 0.08), rng.choice(("grey", "white")))
    drawn = painting.letters(22)
    n = rng.randint(2, max(2, min(7, int((canvas.height - 10) / (drawn * 1.7)))))
    room = min((canvas.height - 10) / n, drawn * rng.uniform(1.6, 3.2))
    cities, buses = rng.sample(CITIES, n), rng.sample(range(1, 100), n)
    days, lights = [rng.choice(DAYS) for _ in range(n)], [rng.choice(_LIGHTS) for _ in range(n)]
    ink = rng.choice(("yellow", "white", "orange"))
    contrast = painting.contrast()
    lines = [f"88 {city} wed 8" for city in CITIES]
    height = max(LEAST, canvas.fit(lines, min(drawn, room * 0.6), canvas.width * 0.92))
    stops = _stops(canvas, height)
    size = min(height, log_uniform(rng, 8, 20))
    shade = canvas.mix(ink, canvas.background, contrast)
    top = rng.uniform(5, canvas.height - 5 - n * room)
    for k in range(n):
        y = top + (k + 0.5) * room
        canvas.text(str(buses[k]), stops[0], y, height, shade, "lm")
        canvas.text(cities[k], stops[1], y, height, shade, "lm")
        canvas.text(days[k], stops[2], y, height, shade, "lm")
        x = stops[3] + size / 2
        light = (x - size / 2, y - size / 2, x + size / 2, y + size / 2)
        canvas.block("box", lights[k], light, f"{lights[k]} box")
        canvas.line(
            [(4, y + room / 2), (canvas.width - 4, y + room / 2)], canvas.mix(ink, canvas.background, 0.3)
        )

    told = {"height": height, "n": n, "contrast": contrast, "distance": room}
    for k in rng.sample(range(n), 2):
        painting.ask("value", _bus_to(cities[k]), buses[k], buses, **told)
    k = rng.randrange(n)
    painting.ask("item", wordings.bus_goes(buses[k]), cities[k], cities, **told)
    k = rng.randrange(n)
    painting.ask("day", _day_of(cities[k]), days[k], DAYS, **told)
    k = rng.randrange(n)
    asked = wordings.colour_of(f"the box of {cities[k]}")
    painting.ask("colour", asked, lights[k], _LIGHTS, size=size, n=n, height=height)
    for truth in (True, False):
        city = rng.choice(cities if truth else [c for c in CITIES if c not in cities])
        painting.ask("exists", wordings.exists(f"a row for {city}"), yes_no(truth), **told)
    painting.ask("count", wordings.how_many("rows"), n, n=n, size=height)
    rows = zip(buses, cities, days, lights, strict=True)
    painting.describe("board: " + ", ".join(f"{b} {c} {d} {x}" for b, c, d, x in rows))
    for bus, city, colour in zip(buses, cities, lights, strict=True):
        painting.look_up(f"bus {bus}", city)
        painting.look_up(f"{city} colour", colour)
    return painting


def _stops(canvas: Canvas, height: float) -> list[float]:
    """Left edges of the four columns: what is left over lies between them."""
    wide = [max(canvas.text_size(word, height)[0] for word in words) for words in (["88"], CITIES, DAYS)]
    spare = (canvas.width * 0.96 - sum(wide) - height) / 4
    stops = [canvas.width * 0.03]
    for column in wide:
        stops.append(stops[-1] + column + spare)
    return stops


def _bus_to(city: str) -> wordings.Wordings:
    return (
        f"Which bus goes to {city}?",
        f"What is the number of the bus to {city}?",
        f"Which number does the bus to {city} have?",
        f"What number is the bus to {city}?",
    )


def _day_of(city: str) -> wordings.Wordings:
    return (
        f"On which day is the bus to {city}?",
        f"Which day is the bus to {city}?",
        f"What day is the bus to {city}?",
        f"The bus to {city} is on which day?",
    )
