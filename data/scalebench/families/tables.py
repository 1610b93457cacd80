"""Tables and calendars: look-ups by row and column, coloured cells, headings."""

from __future__ import annotations

import random

from data.scalebench.families.paint import Painting, fresh, log_uniform, readable, yes_no
from data.scalebench.vocabulary import CITIES, DAYS, GOODS, NAMES

_TINTS = ("red", "yellow", "green", "orange", "blue")


def paint(rng: random.Random) -> Painting:
    painting = fresh(rng, ("white", "white", "yellow", "grey"), square=0.85)
    canvas = painting.canvas
    columns = list(DAYS[: rng.randint(2, 4)]) if rng.random() < 0.6 else rng.sample(CITIES, rng.randint(2, 3))
    rows = rng.sample(rng.choice((GOODS, NAMES)), rng.randint(2, 5))
    numbers = rng.random() < 0.7
    cells = [[str(rng.randrange(100)) if numbers else rng.choice(GOODS) for _ in columns] for _ in rows]
    band = rng.choice(("blue", "green", "purple", "black", "brown"))
    wide = (canvas.width - 16) / (len(columns) + 1)
    tall = min((canvas.height - 16) / (len(rows) + 1), rng.uniform(34, 80))
    words = [*columns, *rows, *(cell for line in cells for cell in line)]
    size = min(log_uniform(rng, 13, 28), tall * 0.62)
    size = max(10.5, min(size, size * wide * 0.9 / max(canvas.text_size(w, size)[0] for w in words)))
    marked = (rng.randrange(len(rows)), rng.randrange(len(columns)))
    tint = rng.choice([c for c in _TINTS if c != canvas.background])

    bottom = 8 + tall * (len(rows) + 1)
    canvas.block("box", band, (8, 8, canvas.width - 8, 8 + tall))
    x, y = 8 + wide * (marked[1] + 1), 8 + tall * (marked[0] + 1)
    canvas.block("cell", tint, (x, y, x + wide, y + tall))
    for k in range(len(rows) + 2):
        canvas.line([(8, 8 + tall * k), (canvas.width - 8, 8 + tall * k)], "black")
    for k in range(len(columns) + 2):
        canvas.line([(8 + wide * k, 8), (8 + wide * k, bottom)], "black")
    for k, column in enumerate(columns):
        canvas.text(column, 8 + wide * (k + 1.5), 8 + tall / 2, size, readable(band), "mm")
    for r, row in enumerate(rows):
        canvas.text(row, 8 + wide / 2, 8 + tall * (r + 1.5), size, "black", "mm")
        for k, cell in enumerate(cells[r]):
            ink = readable(tint) if (r, k) == marked else "black"
            canvas.text(cell, 8 + wide * (k + 1.5), 8 + tall * (r + 1.5), size, ink, "mm")
    _ask(rng, painting, columns, rows, cells, marked, tint, band, size)
    lines = ", ".join(f"{row} {' '.join(cells[r])}" for r, row in enumerate(rows))
    painting.describe("Describe the picture.", f"table {' '.join(columns)}: {lines}, {tint} cell")
    for r, row in enumerate(rows):
        for k, column in enumerate(columns):
            painting.look_up(f"{row} {column} entry", cells[r][k])
    return painting


def _ask(
    rng: random.Random, painting: Painting, columns: list[str], rows: list[str], cells: list[list[str]],
    marked: tuple[int, int], tint: str, band: str, size: float,
) -> None:  # fmt: skip
    n = len(columns) * len(rows)
    for _ in range(3):
        r, k = rng.randrange(len(rows)), rng.randrange(len(columns))
        text = rng.choice(
            (
                f"What is in row {rows[r]}, column {columns[k]}?",
                f"What does {rows[r]} have on {columns[k]}?",
                f"Which entry is at {rows[r]} and {columns[k]}?",
            )
        )
        painting.ask("look-up", text, cells[r][k], height=size, n=n)
    r, k = marked
    text = rng.choice(("What is written in the coloured cell?", f"What does the {tint} cell say?"))
    painting.ask("marked", text, cells[r][k], height=size, n=n)
    painting.ask("marked-row", f"In which row is the {tint} cell?", rows[r], height=size, n=n)
    painting.ask("marked-column", f"In which column is the {tint} cell?", columns[k], height=size, n=n)
    painting.ask(
        "tint", rng.choice(("What colour is the marked cell?", "Which colour has the coloured cell?")), tint
    )
    painting.ask(
        "band",
        rng.choice(("What colour is the heading row?", "Which colour has the head of the table?")),
        band,
    )
    painting.ask(
        "rows",
        rng.choice(("How many rows are below the heading?", "How many rows does the table have?")),
        len(rows),
        n=n,
    )
    painting.ask("columns", "How many columns are right of the names?", len(columns), n=n)
    word = rng.choice(rows) if rng.random() < 0.5 else rng.choice(GOODS + NAMES)
    text = rng.choice((f"Is there a row for {word}?", f"Does the table list {word}?"))
    painting.ask("exists", text, yes_no(word in rows), height=size, n=n)
    which, name = rng.choice((("first", rows[0]), ("last", rows[-1])))
    painting.ask("row-name", f"What is the name of the {which} row?", name, height=size, n=n)
