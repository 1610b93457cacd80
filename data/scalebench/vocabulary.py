"""The closed world of ScaleBench: colours, shapes, words and numbers, and the classes of a patch."""

from __future__ import annotations

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 45, 45),
    "blue": (40, 80, 200),
    "green": (40, 150, 70),
    "yellow": (240, 210, 50),
    "orange": (240, 135, 30),
    "purple": (130, 60, 165),
    "brown": (125, 80, 45),
    "black": (25, 25, 25),
    "white": (250, 250, 250),
    "grey": (140, 140, 140),
}
"""Names with their middle shade; `data.scalebench.style` draws around it."""
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross")
PLACES = (
    "top left", "top", "top right",
    "left", "centre", "right",
    "bottom left", "bottom", "bottom right",
)  # fmt: skip
SIDES = ("left", "right", "above", "below")
"""Of one thing against another; "above" and "below" are answers that never stand in a picture."""
GOODS = (
    "bread", "milk", "tea", "soap", "rice", "salt", "fish", "cake", "corn", "eggs",
    "jam", "beans", "wine", "paper", "lamp", "shoes", "hat", "honey", "oil", "pasta",
)  # fmt: skip
PLURALS = ("eggs", "beans", "shoes")
"""Goods that there are, and not is."""
SIGNS = (
    "exit", "open", "shop", "taxi", "hotel", "bank", "park", "bus", "sale", "cafe",
    "stop", "zoo", "gym", "pool", "farm", "museum",
)  # fmt: skip
NAMES = ("anna", "ben", "carl", "dora", "emil", "fay", "gus", "hana")
CITIES = ("rome", "oslo", "lima", "cairo", "delhi", "paris", "tokyo", "quito")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
ROOMS = ("kitchen", "bath", "hall", "office", "garden", "study", "cellar", "lounge")
BUTTONS = (
    "ok", "cancel", "save", "send", "back", "menu", "help", "home", "search", "login",
    "edit", "print",
)  # fmt: skip
APPS = ("mail", "music", "photo", "video", "chat", "news", "clock", "notes")
NATURE = ("river", "tree", "bird", "horse", "stone", "moon", "snow", "rain", "wind", "lake")
LAYOUT = ("total", "cash", "card", "name", "city", "day", "age", "item", "from", "to")

CHARTS = ("bar", "line", "pie")

WORDS: tuple[str, ...] = (
    GOODS + SIGNS + NAMES + CITIES + DAYS + MONTHS + ROOMS + BUTTONS + APPS + NATURE + LAYOUT
)
"""All words that can stand in a picture; each belongs to one list."""
NUMBERS = range(100)
ANSWERS = frozenset((*WORDS, *map(str, NUMBERS), *COLOURS, *SHAPES, *PLACES, *SIDES, *CHARTS, "yes", "no"))
"""Every answer to every question."""

KINDS = ("none", *SHAPES, "sign", "bar", "marker", "cell", "box", "tick", "slice", "room", "button")
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"

LABELS: dict[str, int] = {
    "background": len(COLOURS),
    "kind": len(KINDS),
    "colour": 1 + len(COLOURS),  # of the object that covers most of the patch; 0 = none
    "word": 1 + len(WORDS) + len(NUMBERS),  # 0 = none
    "char": 1 + len(CHARACTERS),  # the glyph nearest to the centre of the patch; 0 = none
    "start": 2,  # whether a word starts in the patch
}
"""Dense per-patch labels: head name -> number of classes. Label -1 means: do not score."""

COLOUR_INDEX = {name: i for i, name in enumerate(COLOURS)}
KIND_INDEX = {name: i for i, name in enumerate(KINDS)}
CHARACTER_INDEX = {c: 1 + i for i, c in enumerate(CHARACTERS)}
_WORD_INDEX = {word: 1 + i for i, word in enumerate(WORDS)}


def word_class(text: str) -> int:
    """Class of a written word or of a number below 100 in the ``word`` head; raises KeyError on others."""
    if text.isdigit():
        return 1 + len(WORDS) + NUMBERS.index(int(text))
    return _WORD_INDEX[text.lower()]
