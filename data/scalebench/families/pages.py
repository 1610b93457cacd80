"""Pages of dense text: a heading, a page number, columns of small words, a few of which stand out."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from data.scalebench.families import wordings
from data.scalebench.families.paint import LEAST, Painting, fresh, yes_no
from data.scalebench.labels import Box
from data.scalebench.style import Style
from data.scalebench.vocabulary import COLOURS, WORDS

KINDS = {"heading": 0.05, "number": 0.05, "first": 0.05, "marked": 0.05, "exists": 0.55, "column": 0.55}
ASKED = {"first": 2.0, "marked": 4.0, "number": 0.1, "heading": 0.2}
_PAPER = ("white", "white", "white", "yellow", "grey")
_INKS = ("red", "blue", "green", "purple")
_MARGIN = 12.0
_MOST_WORDS = 100


@dataclass
class _Word:
    word: str
    column: int
    x: float
    y: float
    wide: float
    marked: str = ""  # how it stands out: a colour of ink, "underlined", "framed" or "highlighted"


@dataclass
class _Page:
    """height: of the letters of the text. starts: first word of each paragraph, in reading order."""

    height: float
    columns: int
    contrast: float
    heading: str = ""
    number: int = 0
    heading_height: float = 0.0
    number_height: float = 0.0
    words: list[_Word] = field(default_factory=list)
    starts: list[_Word] = field(default_factory=list)

    def first(self, column: int) -> _Word:
        return next(word for word in self.words if word.column == column)


def paint(rng: random.Random, style: Style) -> Painting:
    painting = fresh(rng, style, _PAPER, square=0.85)
    if rng.random() < 0.2:
        painting.canvas.gradient(rng, rng.uniform(0.1, 0.35))
    contrast = painting.contrast()
    columns = min(rng.choice((1, 1, 2, 2, 3)), max(1, int(painting.canvas.width / 105)))
    page = _Page(painting.letters(high=20), columns, contrast)
    top, bottom = _furniture(rng, painting, page)
    _set(rng, painting, page, top, bottom)
    _mark(rng, page)
    _draw(painting, page)
    _ask(rng, painting, page)
    stands_out = "".join(f", {word.marked} {word.word}" for word in page.words if word.marked)
    painting.describe(
        f"page {page.number}: {page.heading}, {page.columns} columns, "
        f"{' '.join(word.word for word in page.starts)}{stands_out}"
    )
    _look_ups(rng, painting, page)
    return painting


def _furniture(rng: random.Random, painting: Painting, page: _Page) -> tuple[float, float]:
    """Draws heading and page number; returns where the text may begin and end."""
    canvas = painting.canvas
    page.heading, page.number = rng.choice(WORDS), rng.randrange(1, 100)
    page.heading_height = painting.letters(high=min(46.0, canvas.height / 6), low=11)
    case = rng.choice((str.lower, str.title, str.upper))
    room = canvas.width - 2 * _MARGIN
    page.heading_height = canvas.fit([case(page.heading)], page.heading_height, room)
    page.number_height = min(painting.letters(high=26), canvas.height / 12)
    ink = painting.ink(canvas.background)
    across = rng.choice((_MARGIN, canvas.width / 2))
    anchor = "lt" if across == _MARGIN else "mt"
    if painting.style.unseen_layout:  # kept back: the number above, the heading at the foot of the page
        low = canvas.height - _MARGIN
        canvas.text(str(page.number), canvas.width - _MARGIN, _MARGIN, page.number_height, ink, "rt")
        canvas.text(case(page.heading), across, low, page.heading_height, ink, anchor[0] + "b")
        return _MARGIN + 1.8 * page.number_height, low - 1.7 * page.heading_height
    canvas.text(case(page.heading), across, _MARGIN, page.heading_height, ink, anchor)
    top = _MARGIN + 1.7 * page.heading_height
    if rng.random() < 0.4:
        canvas.line([(_MARGIN, top - 3), (canvas.width - _MARGIN, top - 3)], ink)
    foot = rng.choice((_MARGIN, canvas.width / 2, canvas.width - _MARGIN))
    side = {_MARGIN: "l", canvas.width - _MARGIN: "r"}.get(foot, "m")
    canvas.text(str(page.number), foot, canvas.height - 8, page.number_height, ink, f"{side}b")
    return top, canvas.height - 8 - 1.7 * page.number_height


def _set(rng: random.Random, painting: Painting, page: _Page, top: float, bottom: float) -> None:
    """Sets words into lines, lines into columns; every word comes once."""
    canvas = painting.canvas
    gutter = 1.6 * page.height
    wide = (canvas.width - 2 * _MARGIN + gutter) / page.columns - gutter
    page.height = max(LEAST, min(page.height, wide / 6, (bottom - top) / 6))
    leading, space = page.height * rng.uniform(1.6, 2.1), page.height * 0.65
    words = rng.sample([word for word in WORDS if word != page.heading], _MOST_WORDS)
    end = top + (bottom - top) * rng.choice((1.0, rng.uniform(0.4, 1.0)))
    for column in range(page.columns):
        rest = len(words) * (page.columns - 1 - column) // (page.columns - column)  # words of later columns
        left = _MARGIN + column * (wide + gutter)
        x, y, line, starts = left, top, 0, True
        while len(words) > rest:
            across, _ = canvas.text_size(words[-1], page.height)
            if x > left and x + across > left + wide:
                line, starts = line + 1, line > 0 and rng.random() < 0.2
                x, y = left, y + leading * (1.6 if starts else 1.0)
            if y + 1.3 * page.height > end:
                break
            placed = _Word(words.pop(), column, x, y, across)
            page.words.append(placed)
            if starts:
                page.starts.append(placed)
            x, starts = x + across + space, False


def _mark(rng: random.Random, page: _Page) -> None:
    """One to three words stand out, each in a way of its own."""
    ways = [rng.choice(_INKS), "underlined", "framed", "highlighted"]
    count = min(rng.randint(1, 3), len(page.words))
    for word, way in zip(rng.sample(page.words, count), rng.sample(ways, count), strict=True):
        word.marked = way


def _draw(painting: Painting, page: _Page) -> None:
    canvas = painting.canvas
    ink = painting.ink(canvas.background, page.contrast)
    for word in page.words:
        x, y, wide, low = word.x, word.y, word.wide, word.y + 1.3 * page.height
        around: Box = (x - 2, y - 0.25 * page.height, x + wide + 2, low)
        if word.marked == "highlighted":
            canvas.block("cell", "orange", around)
        if word.marked == "framed":
            canvas.rectangle(around, None, ink, 1.2)
        if word.marked == "underlined":
            canvas.line([(x, low), (x + wide, low)], ink, 1.5)
        if word.marked in COLOURS:
            canvas.mark("none", word.marked, around)
        colour = word.marked if word.marked in COLOURS else ink
        if word.marked == "highlighted":
            colour = "black"
        canvas.text(word.word, x, y + page.height, page.height, colour, "ls")


def _ask(rng: random.Random, painting: Painting, page: _Page) -> None:
    n = len(page.words)
    others = [word.word for word in page.words]
    sizes = {"height": page.height, "n": n, "contrast": page.contrast}
    painting.ask("heading", wordings.says("the heading"), page.heading, others, height=page.heading_height)
    asked = (
        "What is the page number?",
        "What page is this?",
        "Which page number does the page have?",
        "Which number does this page have?",
    )
    painting.ask("number", asked, page.number, height=page.number_height)
    firsts = _firsts(page)
    for first, where in rng.sample(firsts, min(2, len(firsts))):
        painting.ask("first", _first(where), first.word, others, **sizes)
    for marked in page.words:
        if marked.marked:
            painting.ask("marked", _marked(marked.marked), marked.word, others, **sizes)
    absent = rng.choice([word for word in WORDS if word not in {*others, page.heading}])
    present = rng.choice(page.words)
    for word, truth in ((present.word, True), (absent, False)):
        asked = (
            f"Is the word {word} on the page?",
            f"Does the word {word} stand in the text?",
            f"Can you read the word {word}?",
            f"Does the page contain the word {word}?",
        )
        painting.ask("exists", asked, yes_no(truth), **sizes)
    if page.columns > 1:
        sought = rng.choice(page.words)
        asked = (
            f"In which column is the word {sought.word}?",
            f"Which column has the word {sought.word}?",
            f"In which column can you read {sought.word}?",
            f"Which column does {sought.word} stand in?",
        )
        painting.ask("column", asked, _column(page, sought.column), **sizes)


def _column(page: _Page, column: int) -> str:
    return ("left", "right")[column] if page.columns == 2 else ("left", "centre", "right")[column]


def _firsts(page: _Page) -> list[tuple[_Word, str]]:
    """Words that begin something, and what they begin."""
    found = [(page.words[0], "the text")]
    if page.columns > 1:
        found += [(page.first(c), f"the {_column(page, c)} column") for c in range(page.columns)]
    elif len(page.starts) > 1:
        found.append((page.starts[-1], "the last paragraph"))
    return found


def _first(where: str) -> tuple[str, ...]:
    return (
        f"What is the first word of {where}?",
        f"Which word does {where} begin with?",
        f"With which word does {where} start?",
        f"Which word comes first in {where}?",
    )


def _marked(way: str) -> tuple[str, ...]:
    return (
        f"Which word is {way}?",
        f"What is the {way} word?",
        f"Read the {way} word.",
        f"What does the {way} word say?",
    )


def _look_ups(rng: random.Random, painting: Painting, page: _Page) -> None:
    painting.look_up("heading", page.heading)
    painting.look_up("page number", page.number)
    for word, where in _firsts(page):
        painting.look_up(f"{where.removeprefix('the ')} first", word.word)
    for word in page.words:
        if word.marked:
            painting.look_up(f"{word.marked} word", word.word)
    there = {word.word for word in page.words}
    for word in rng.sample(page.words, min(12, len(page.words))):
        painting.look_up(f"{word.word} there", "yes")
        if page.columns > 1:
            painting.look_up(f"{word.word} column", _column(page, word.column))
    for absent in rng.sample([word for word in WORDS if word not in {*there, page.heading}], 12):
        painting.look_up(f"{absent} there", "no")
