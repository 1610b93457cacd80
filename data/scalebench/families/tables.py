"""Tables, timetables and calendars: look-ups by row and column, coloured cells, headings."""

from __future__ import annotations

import random
from collections.abc import Callable

from data.scalebench.families import wordings
from data.scalebench.families.paint import LEAST, Painting, fresh, yes_no
from data.scalebench.labels import Box
from data.scalebench.style import Style
from data.scalebench.vocabulary import CITIES, DAYS, GOODS, MONTHS, NAMES

KINDS = {
    "entry": 0.04, "marked": 0.04, "colour": 0.2, "exists": 0.52, "item": 0.16, "count": 0.22,
    "heading": 0.11, "weekday": 0.18,
}  # fmt: skip
ASKED = {"entry": 3.0, "marked": 3.0, "item": 3.0, "weekday": 0.1, "heading": 0.3}
_PAPER = ("white", "white", "yellow", "grey")
_TINTS = ("red", "yellow", "green", "orange", "blue", "purple")
_BANDS = ("blue", "green", "purple", "black", "brown")
_EDGE = 8.0


def paint(rng: random.Random, style: Style) -> Painting:
    painting = fresh(rng, style, _PAPER, square=0.85)
    made = rng.choice((_table, _table, _timetable, _calendar))
    if made is _calendar and painting.canvas.width < 240:  # no room for seven days
        made = _table
    return made(rng, painting)


Cell = Callable[[int, int], Box]


def _grid(painting: Painting, rows: int, columns: int, top: float, tall: float, names: bool = True) -> Cell:
    """Row and column -> box, from the heads of columns in row 0 and, with ``names``, of rows in column 0.

    Kept back: those heads at the bottom and on the right.
    """
    canvas = painting.canvas
    wide = (canvas.width - 2 * _EDGE) / columns

    def cell(row: int, column: int) -> Box:
        if painting.style.unseen_layout:
            row = (row - 1) % rows
            column = (column - 1) % columns if names else column
        x, y = _EDGE + wide * column, top + tall * row
        return (x, y, x + wide, y + tall)

    return cell


def _write(painting: Painting, text: str, box: Box, height: float, on: str, contrast: float = 1.0) -> None:
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    painting.canvas.text(text, *middle, height, painting.ink(on, contrast), "mm")


def _tint(rng: random.Random, painting: Painting, band: str) -> str:
    return rng.choice([c for c in _TINTS if c not in (painting.canvas.background, band)])


def _filled(
    rng: random.Random, painting: Painting, columns: list[str], rows: list[str], cells: list[list[str]]
) -> tuple[list[str], dict[str, float]]:
    """Draws a table with its head; returns the columns that had room, and what decides the difficulty."""
    canvas = painting.canvas
    drawn = painting.letters(19)
    while True:
        wide = (canvas.width - 2 * _EDGE) / (len(columns) + 1)
        words = [*columns, *rows, *(cell for line in cells for cell in line[: len(columns)])]
        height = canvas.fit(words, drawn, wide * 0.9)
        if height >= LEAST or len(columns) == 2:
            break
        columns = columns[:-1]
    most = int((canvas.height - 2 * _EDGE) / (height * 1.5)) - 1
    if most < len(rows):
        del rows[max(2, most) :]
    tall = min((canvas.height - 2 * _EDGE) / (len(rows) + 1), height * rng.uniform(1.45, 2.6))
    cell = _grid(painting, len(rows) + 1, len(columns) + 1, _EDGE, tall)
    band, contrast = rng.choice(_BANDS), painting.contrast()
    tint = _tint(rng, painting, band)
    marked = rng.randrange(len(rows)), rng.randrange(len(columns))

    _, upper, _, lower = cell(0, 0)
    canvas.block("box", band, (_EDGE, upper, canvas.width - _EDGE, lower))
    found = cells[marked[0]][marked[1]]
    canvas.block("cell", tint, cell(marked[0] + 1, marked[1] + 1), f"{tint} {found}")
    if rng.random() < 0.7:
        for r in range(len(rows) + 1):
            for c in range(len(columns) + 1):
                canvas.rectangle(cell(r, c), None, painting.ink(canvas.background, 0.6))
    for c, column in enumerate(columns):
        _write(painting, column, cell(0, c + 1), height, band)
    for r, row in enumerate(rows):
        _write(painting, row, cell(r + 1, 0), height, canvas.background, contrast)
        for c in range(len(columns)):
            on = tint if (r, c) == marked else canvas.background
            _write(painting, cells[r][c], cell(r + 1, c + 1), height, on, contrast)
            painting.look_up(f"{row} {columns[c]} entry", cells[r][c])
    painting.look_up(f"{tint} cell", found)

    told = {"height": height, "n": len(rows) * len(columns), "contrast": contrast, "distance": tall}
    others = [cell for line in cells[: len(rows)] for cell in line[: len(columns)]]
    alike = [cell for cell in others if cell.isdigit() == found.isdigit()]
    painting.ask("marked", wordings.reads(f"the {tint} cell"), found, alike, **told)
    painting.ask("colour", wordings.colour_of("the highlighted cell"), tint, _TINTS, size=tall)
    for _ in range(2):
        r, c = rng.randrange(len(rows)), rng.randrange(len(columns))
        options = [cell for cell in others if cell.isdigit() == cells[r][c].isdigit()]
        painting.ask("entry", wordings.entry_at(rows[r], columns[c]), cells[r][c], options, **told)
    painting.ask("count", _rows_below(), len(rows), n=len(rows), size=tall)
    return columns, told


def _table(rng: random.Random, painting: Painting) -> Painting:
    columns = list(DAYS[: rng.randint(2, 5)]) if rng.random() < 0.6 else rng.sample(CITIES, rng.randint(2, 3))
    pool = rng.choice((GOODS, NAMES))
    rows = rng.sample(pool, min(rng.randint(2, 9), len(pool) - 1))
    numbers = rng.random() < 0.7
    cells = [[str(rng.randrange(100)) if numbers else rng.choice(GOODS) for _ in columns] for _ in rows]
    columns, told = _filled(rng, painting, columns, rows, cells)
    for truth in (True, False):
        word = rng.choice(rows if truth else [w for w in pool if w not in rows])
        painting.ask("exists", wordings.exists(f"a row for {word}"), yes_no(truth), **told)
    lines = ", ".join(f"{row} {' '.join(cells[r][: len(columns)])}" for r, row in enumerate(rows))
    painting.describe(f"table {' '.join(columns)}: {lines}")
    return painting


def _timetable(rng: random.Random, painting: Painting) -> Painting:
    """Rows by destination: the bus's number, its day, its price."""
    columns = rng.sample(("bus", "day", "cash"), rng.randint(2, 3))
    if "bus" not in columns:
        columns[0] = "bus"
    rows = rng.sample(CITIES, rng.randint(3, 8))
    buses = rng.sample(range(1, 100), len(rows))
    made: dict[str, Callable[[int], str]] = {
        "bus": lambda r: str(buses[r]),
        "day": lambda r: rng.choice(DAYS),
        "cash": lambda r: str(rng.randrange(100)),
    }
    cells = [[made[column](r) for column in columns] for r in range(len(rows))]
    columns, told = _filled(rng, painting, columns, rows, cells)
    if "bus" in columns:
        for r in rng.sample(range(len(rows)), 2):
            painting.ask("item", wordings.bus_goes(buses[r]), rows[r], rows, **told)
        for r, row in enumerate(rows):
            painting.look_up(f"bus {buses[r]}", row)
    for truth in (True, False):
        absent = [city for city in CITIES if city not in rows]
        if truth or absent:
            word = rng.choice(rows if truth else absent)
            painting.ask("exists", wordings.exists(f"a row for {word}"), yes_no(truth), **told)
    lines = ", ".join(f"{row} {' '.join(cells[r][: len(columns)])}" for r, row in enumerate(rows))
    painting.describe(f"table {' '.join(columns)}: {lines}")
    return painting


def _calendar(rng: random.Random, painting: Painting) -> Painting:
    """A month: numbers by day of the week, one or two of them marked."""
    canvas = painting.canvas
    month, start = rng.choice(MONTHS), rng.randrange(7)
    days = {"feb": 28, "apr": 30, "jun": 30, "sep": 30, "nov": 30}.get(month, 31)
    weeks = -(-(start + days) // 7)
    room = (canvas.height - 2 * _EDGE) / (weeks + 2.2)
    wide = (canvas.width - 2 * _EDGE) / 7
    height = canvas.fit([*DAYS, "88"], min(painting.letters(18), room * 0.72), wide * 0.92)
    title = canvas.fit([month], min(painting.letters(30, low=12), room * 0.9), canvas.width / 2)
    tall = min(room, height * rng.uniform(1.4, 2.3))
    top = _EDGE + room * 1.15
    cell = _grid(painting, weeks + 1, 7, top, tall, names=False)
    band, contrast = rng.choice(_BANDS), painting.contrast()
    canvas.text(month, canvas.width / 2, _EDGE + room / 2, title, painting.ink(canvas.background), "mm")
    canvas.block("box", band, (_EDGE, cell(0, 0)[1], canvas.width - _EDGE, cell(0, 0)[3]))
    tint = _tint(rng, painting, band)
    marked = rng.randint(1, days)
    for c, day in enumerate(DAYS):
        _write(painting, day, cell(0, c), height, band)
    for number in range(1, days + 1):
        r, c = divmod(start + number - 1, 7)
        on = canvas.background
        if number == marked:
            on = tint
            canvas.block("cell", tint, cell(r + 1, c), f"{tint} {number}")
        _write(painting, str(number), cell(r + 1, c), height, on, contrast)

    told = {"height": height, "n": days, "contrast": contrast, "distance": tall}
    painting.ask("heading", wordings.says("the heading"), month, MONTHS, height=title)
    painting.ask("marked", wordings.reads(f"the {tint} cell"), marked, range(1, days + 1), **told)
    painting.ask("colour", wordings.colour_of("the highlighted cell"), tint, _TINTS, size=tall)
    for number in rng.sample(range(1, days + 1), 2):
        painting.ask("weekday", _weekday(number), DAYS[(start + number - 1) % 7], DAYS, **told)
    for number in (1, marked, rng.randint(1, days)):
        painting.look_up(f"{number} day", DAYS[(start + number - 1) % 7])
    painting.look_up(f"{tint} cell", marked)
    painting.look_up("heading", month)
    painting.describe(f"calendar {month}: 1 {DAYS[start]}, {marked} {tint} cell, {days} days")
    return painting


def _rows_below() -> wordings.Wordings:
    return (
        "How many rows are there without the heading?",
        "How many rows does the table have without the heading?",
        "Count the rows without the heading.",
        "Without the heading, how many rows are there?",
    )


def _weekday(number: int) -> wordings.Wordings:
    return (
        f"Which day is the {number}?",
        f"On which day is the {number}?",
        f"What day is the {number}?",
        f"The {number} is on which day?",
    )
