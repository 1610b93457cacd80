"""Screenshots of a window: title, tabs, fields, boxes to tick, buttons, icons with badges, a menu."""

from __future__ import annotations

import random
from collections.abc import Callable

from data.scalebench.families import wordings
from data.scalebench.families.paint import LEAST, Painting, fresh, yes_no
from data.scalebench.labels import Box
from data.scalebench.style import Style
from data.scalebench.vocabulary import APPS, BUTTONS, CITIES, DAYS, GOODS, NAMES, NATURE, SHAPES

KINDS = {
    "title": 0.2, "tab": 0.12, "field": 0.2, "ticked": 0.55, "says": 0.14, "colour": 0.25, "badge": 0.05,
    "exists": 0.55,
}  # fmt: skip
ASKED = {"badge": 3.0, "ticked": 3.0, "tab": 0.2, "title": 0.2, "field": 0.2, "says": 0.2}
_DESKTOPS = ("white", "white", "grey", "black", "blue")
_BARS = ("blue", "green", "purple", "black", "brown", "red")
_ACCENTS = ("red", "blue", "green", "orange", "purple", "yellow", "brown")
_EDGE = 6.0


def paint(rng: random.Random, style: Style) -> Painting:
    painting = fresh(rng, style, _DESKTOPS, square=0.8)
    height = min(painting.letters(high=18), painting.canvas.height / 12)
    screen = _Screen(rng, painting, max(LEAST, height))
    body = screen.title_bar()
    body = screen.menu(body)
    screen.panels(body)
    painting.describe(", ".join(screen.told))
    return painting


class _Screen:
    """One window. Each part draws itself, asks about itself and says what it shows.

    height: of the letters. told: the parts in words.
    """

    def __init__(self, rng: random.Random, painting: Painting, height: float) -> None:
        self.rng = rng
        self.painting = painting
        self.canvas = painting.canvas
        self.height = height
        self.page = self.canvas.background
        self.contrast = max(0.5, painting.contrast())
        self.bar = ""  # the colour of the title bar
        self.tab = ""  # that of the selected tab, where it is a block like a button
        self.shown: set[str] = set()  # words of the menu and the tabs
        self.told: list[str] = []

    def _sizes(self, height: float, n: int) -> dict[str, float]:
        return {"height": height, "n": n, "contrast": self.contrast}

    def _write(self, word: str, x: float, y: float, height: float, on: str, anchor: str = "lm") -> None:
        self.canvas.text(word, x, y, height, self.painting.ink(on, self.contrast), anchor)

    def _fit(self, words: list[str], wide: float, height: float | None = None) -> float:
        """Letters as high as the window's, or lower where ``words`` would not fit into ``wide``."""
        return max(LEAST, self.canvas.fit(words, height or self.height, wide))

    def title_bar(self) -> Box:
        """Draws the bar; returns what is left of the window. Kept back: the bar at the foot."""
        rng, canvas = self.rng, self.canvas
        title = rng.choice(APPS)
        room = min(canvas.width * 0.6, canvas.width - 96)  # beside the window's own controls
        height = self._fit([title], room, min(self.painting.letters(high=34), canvas.height / 9))
        tall = 1.9 * height
        self.bar = bar = rng.choice([c for c in _BARS if c != self.page])
        low = self.painting.style.unseen_layout
        top = canvas.height - tall if low else 0.0
        canvas.block("box", bar, (0, top, canvas.width, top + tall))
        x, anchor = rng.choice(((_EDGE + 4, "lm"), (canvas.width / 2, "mm")))
        self._write(rng.choice((str.lower, str.title))(title), x, top + tall / 2, height, bar, anchor)
        for k in range(3):  # the window's own controls
            x, y, half = canvas.width - 12 - 13 * k, top + tall / 2, 3.5
            canvas.rectangle((x - half, y - half, x + half, y + half), None, self.painting.readable(bar), 1.2)
        self.painting.ask("title", _titles(), title, APPS, **self._sizes(height, 1))
        self.painting.look_up("window title", title)
        colour = wordings.colour_of("the title bar")
        self.painting.ask("colour", colour, bar, _BARS, size=tall, n=1)
        self.painting.look_up("title bar colour", bar)
        self.told.append(f"{bar} window {title}")
        return (0, 0, canvas.width, top) if low else (0, tall, canvas.width, canvas.height)

    def menu(self, body: Box) -> Box:
        """Now and then a menu at the side, one entry below the other. Kept back: on the right."""
        x0, y0, x1, y1 = body
        if self.rng.random() < 0.6 or x1 - x0 < 220:
            return body
        wide = (x1 - x0) * self.rng.uniform(0.26, 0.34)
        entries = self.rng.sample(BUTTONS + APPS, self.rng.randint(3, 6))
        height = self._fit(entries, wide - 12)
        step = min((y1 - y0 - 8) / len(entries), height * self.rng.uniform(1.6, 2.4))
        if step < height * 1.35:
            return body
        self.shown.update(entries)
        left = x1 - wide if self.painting.style.unseen_layout else x0
        shade = self.rng.choice([c for c in (*_ACCENTS, "grey") if c not in (self.page, self.bar)])
        self.canvas.block("box", shade, (left, y0, left + wide, y1))
        for k, entry in enumerate(entries):
            self._write(entry, left + 7, y0 + 4 + step * (k + 0.5), height, shade)
        absent = self.rng.choice([word for word in BUTTONS + APPS if word not in entries])
        for word, truth in ((self.rng.choice(entries), True), (absent, False)):
            asked = (
                f"Is {word} in the menu?",
                f"Does the menu have the entry {word}?",
                f"Can you see {word} in the menu?",
                f"Is there an entry {word} in the menu?",
            )
            self.painting.ask("exists", asked, yes_no(truth), **self._sizes(height, len(entries)))
        for word in entries:
            self.painting.look_up(f"{word} menu", "yes")
        self.painting.look_up(f"{absent} menu", "no")
        self.painting.ask(
            "colour", wordings.colour_of("the menu"), shade, (*_ACCENTS, "grey"), size=wide, n=1
        )
        self.told.append(f"{shade} menu {' '.join(entries)}")
        return (x0, y0, left, y1) if left > x0 else (x0 + wide, y0, x1, y1)

    def panels(self, body: Box) -> None:
        """Two to five panels below each other, of different sorts."""
        x0, y0, x1, y1 = body
        sorts: list[Callable[[Box], None]] = [self.tabs, self.fields, self.boxes, self.buttons, self.icons]
        most = max(2, min(5, int((y1 - y0) / (self.height * 4.2))))
        chosen = self.rng.sample(sorts, self.rng.randint(2, most))
        chosen.sort(key=sorts.index)
        if self.tabs in chosen[1:]:
            chosen.sort(key=lambda sort: sort != self.tabs)
        weights = {"tabs": 0.7, "fields": 1.4, "boxes": 1.2, "buttons": 0.9, "icons": 1.0}
        whole = sum(weights[sort.__name__] for sort in chosen)
        for sort in chosen:
            tall = (y1 - body[1]) * weights[sort.__name__] / whole
            sort((x0 + _EDGE, y0 + 3, x1 - _EDGE, y0 + tall - 3))
            y0 += tall

    def tabs(self, box: Box) -> None:
        """Two to four tabs in a row; the selected one has the colour of the page or a line below it."""
        x0, y0, x1, _ = box
        words = self._row(APPS + BUTTONS, x1 - x0, (2, 4), 12)
        height = self._fit(words, (x1 - x0) / len(words) - 10)
        wide, tall = (x1 - x0) / len(words), 1.9 * height
        chosen, lined = self.rng.randrange(len(words)), self.rng.random() < 0.4
        accent = self.rng.choice([c for c in _ACCENTS if c != self.page])
        self.tab = "" if lined else accent
        self.shown.update(words)
        other = "grey" if self.page != "grey" else "white"
        for k, word in enumerate(words):
            tab = (x0 + wide * k + 1, y0, x0 + wide * (k + 1) - 1, y0 + tall)
            colour = self.page if lined else accent if k == chosen else other
            if not lined:
                self.canvas.block("button", colour, tab)
            if lined and k == chosen:
                self.canvas.block("marker", accent, (tab[0] + 3, tab[3] - 3, tab[2] - 3, tab[3]))
            self._write(word, (tab[0] + tab[2]) / 2, y0 + tall / 2, height, colour, "mm")
        asked = (
            "Which tab is selected?",
            "What is the selected tab?",
            "Read the selected tab.",
            "What does the selected tab say?",
        )
        self.painting.ask("tab", asked, words[chosen], words, **self._sizes(height, len(words)))
        self.painting.look_up("selected tab", words[chosen])
        self.told.append(f"tabs {' '.join(words)} selected {words[chosen]}")

    def fields(self, box: Box) -> None:
        """Labels with their values in frames."""
        x0, y0, x1, y1 = box
        values = {
            "name": NAMES, "city": CITIES, "day": DAYS, "age": tuple(str(n) for n in range(18, 90)),
            "item": GOODS,
        }  # fmt: skip
        count = max(1, min(self.rng.randint(2, 5), int((y1 - y0) / (self.height * 2.1))))
        labels = self.rng.sample(list(values), count)
        held = {label: self.rng.choice(values[label]) for label in labels}
        middle = x0 + (x1 - x0) * self.rng.uniform(0.35, 0.45)
        height = min(self._fit(labels, middle - x0 - 8), self._fit(list(held.values()), x1 - middle - 10))
        step = min((y1 - y0) / count, height * self.rng.uniform(1.9, 3))
        for k, label in enumerate(labels):
            y = y0 + step * (k + 0.5)
            half = min(step * 0.44, height)
            self._write(label, x0 + 2, y, height, self.page)
            frame = (middle, y - half, x1 - 2, y + half)
            self.canvas.rectangle(frame, None, self.painting.ink(self.page), 1.2)
            self._write(held[label], middle + 6, y, height, self.page)
            self.painting.look_up(f"{label} field", held[label])
        for label in self.rng.sample(labels, min(2, count)):
            asked = (
                f"What does the {label} field say?",
                f"What is in the {label} field?",
                f"Read the {label} field.",
                f"What is written in the {label} field?",
            )
            self.painting.ask("field", asked, held[label], values[label], **self._sizes(height, count))
        self.told.append(" ".join(f"{label} {held[label]}" for label in labels))

    def boxes(self, box: Box) -> None:
        """Boxes that are ticked or not, each with its word."""
        x0, y0, x1, y1 = box
        count = max(1, min(self.rng.randint(2, 6), int((y1 - y0) / (self.height * 1.7))))
        words = self.rng.sample(NATURE, count)
        height = self._fit(words, x1 - x0 - 3 * self.height)
        step, side = (
            min((y1 - y0) / count, height * self.rng.uniform(1.6, 2.6)),
            height * self.rng.uniform(1.0, 1.3),
        )
        ticked = [self.rng.random() < 0.5 for _ in words]
        ink = self.painting.ink(self.page)
        for k, word in enumerate(words):
            y = y0 + step * (k + 0.5)
            frame = (x0 + 2, y - side / 2, x0 + 2 + side, y + side / 2)
            self.canvas.rectangle(frame, None, ink, 1.2)
            if ticked[k]:
                inner = side * 0.26
                mark = (frame[0] + inner, frame[1] + inner, frame[2] - inner, frame[3] - inner)
                self.canvas.block("tick", self.painting.readable(self.page), mark, "tick")
            self._write(word, x0 + side + 9, y, height, self.page)
            self.painting.look_up(f"{word} ticked", yes_no(ticked[k]))
        for k in self.rng.sample(range(count), min(2, count)):
            asked = (
                f"Is {words[k]} ticked?",
                f"Is the box for {words[k]} ticked?",
                f"Is there a tick for {words[k]}?",
                f"Does {words[k]} have a tick?",
            )
            sizes = self._sizes(height, count)
            self.painting.ask("ticked", asked, yes_no(ticked[k]), size=side * 0.48, **sizes)
        on = [word for word, tick in zip(words, ticked, strict=True) if tick]
        self.told.append(f"boxes {' '.join(words)} ticked {' '.join(on) or '-'}")

    def buttons(self, box: Box) -> None:
        """One to three coloured buttons in a row; no other part has their words, nor looks like them."""
        x0, y0, x1, y1 = box
        words = self._row(tuple(word for word in BUTTONS if word not in self.shown), x1 - x0, (1, 3), 20)
        wide = (x1 - x0) / len(words)
        height = self._fit(words, wide - 18)
        tall = min(y1 - y0, height * self.rng.uniform(1.8, 2.6))
        colours = self.rng.sample([c for c in _ACCENTS if c not in (self.page, self.tab)], len(words))
        for k, word in enumerate(words):
            across = self.canvas.text_size(word, height)[0] + 14
            left = x0 + wide * k + (wide - across) * self.rng.random()
            button = (left, y0, left + across, y0 + tall)
            self.canvas.block("button", colours[k], button)
            self._write(word, left + across / 2, y0 + tall / 2, height, colours[k], "mm")
            self.painting.look_up(f"{word} button colour", colours[k])
            self.painting.look_up(f"{colours[k]} button", word)
        k = self.rng.randrange(len(words))
        sizes = self._sizes(height, len(words))
        asked = wordings.colour_of(f"the {words[k]} button")
        self.painting.ask("colour", asked, colours[k], _ACCENTS, **sizes)
        k = self.rng.randrange(len(words))
        self.painting.ask("says", wordings.says(f"the {colours[k]} button"), words[k], BUTTONS, **sizes)
        self.told.append(" ".join(f"{c} button {w}" for c, w in zip(colours, words, strict=True)))

    def icons(self, box: Box) -> None:
        """Shapes with a number beside each, as on a phone."""
        x0, y0, x1, y1 = box
        height = max(LEAST, min(self.height, (y1 - y0) / 3))
        count = max(2, min(self.rng.randint(2, 5), int((x1 - x0) / (height * 4.5))))
        shapes, numbers = self.rng.sample(SHAPES, count), self.rng.sample(range(1, 100), count)
        wide = (x1 - x0) / count
        radius = min((y1 - y0) / 2 - height * 0.5, wide / 2 - 1.2 * height, height * self.rng.uniform(1, 2.2))
        radius = max(6.5, radius)
        colours = [c for c in _ACCENTS if c != self.page]
        for k, shape in enumerate(shapes):
            x, y = x0 + wide * (k + 0.5) - 0.8 * height, y0 + radius + height * 0.5
            self.canvas.shape(shape, self.rng.choice(colours), x, y, radius)
            self._write(str(numbers[k]), x + radius + 2, y - radius * 0.6, height, self.page)
            self.painting.look_up(f"{shape} number", numbers[k])
        for k in self.rng.sample(range(count), 2):
            asked = (
                f"Which number is at the {shapes[k]}?",
                f"What number does the {shapes[k]} have?",
                f"Which number belongs to the {shapes[k]}?",
                f"Read the number at the {shapes[k]}.",
            )
            sizes = self._sizes(height, count)
            self.painting.ask("badge", asked, numbers[k], numbers, size=2 * radius, **sizes)
        self.told.append(" ".join(f"{s} {n}" for s, n in zip(shapes, numbers, strict=True)))

    def _row(self, words: tuple[str, ...], wide: float, count: tuple[int, int], margin: float) -> list[str]:
        """Words for a row: as many as wanted, or fewer where they would not fit."""
        chosen = self.rng.sample(words, min(len(words), self.rng.randint(*count)))
        while (
            len(chosen) > count[0]
            and self.canvas.fit(chosen, self.height, wide / len(chosen) - margin) < LEAST
        ):
            chosen.pop()
        return chosen


def _titles() -> tuple[str, ...]:
    return (
        "What is the title of the window?",
        "What does the title bar say?",
        "Read the title of the window.",
        "Which word is in the title bar?",
    )
