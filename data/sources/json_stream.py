"""JSON files a value at a time: official question files are one list, or one object, of millions of values.

Only the value in hand and a piece of the file are in memory. What comes after the values that were asked for
is read as well, so that a file that breaks off is found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from data.sources.files import SourceError, not_utf8, open_text

PIECE = 2**20
"""Characters read at once."""

_NEAR = 64
"""Characters before the end of the text in hand, within which a value may be cut."""

Pairs = list[tuple[str, Any]]
_SPACE = re.compile(r"[ \t\n\r]*")


class JsonStream:
    """The values of one file, in its order. A context manager; every method raises `SourceError`.

    pairs: makes an object of its pairs of names and values.
    """

    def __init__(self, path: Path, pairs: Callable[[Pairs], dict[str, Any]] | None = None) -> None:
        self.path = path
        self._file = open_text(path)
        self._decoder = json.JSONDecoder(object_pairs_hook=pairs)
        self._text = ""
        self._at = 0
        self._before = 0  # characters that were there before the text in hand

    def __enter__(self) -> JsonStream:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def peek(self) -> str:
        """The next character that is no white space; "" at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text) or not self._read():
                return self._text[self._at : self._at + 1]

    def value(self) -> Any:
        """The whole next value."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # A string that does not end is told from where it starts, all else where the text breaks off.
                cut = error.pos > len(self._text) - _NEAR or "string" in error.msg
                if cut and self._read():
                    continue
                raise self._broken(error.msg, error.pos) from None
            except RecursionError:
                raise SourceError(f"{self.path} is not a data set: it is nested too deeply.") from None
            # A number, unlike all else, may go on in the next piece: 12 and .5.
            if end < len(self._text) - _NEAR or not self._read():
                self._at = end
                return value

    def items(self) -> Iterator[None]:
        """Stands before each value of the list that comes next, which has to be taken."""
        yield from self._each("[", "]", lambda: None)

    def members(self) -> Iterator[str]:
        """The name of each member of the object that comes next, standing before its value."""
        yield from self._each("{", "}", self._name)

    def skip(self) -> None:
        """The next value, not kept."""
        if self.peek() == "[":
            for _ in self.items():
                self.value()
        else:
            self.value()

    def end(self) -> None:
        """Nothing may follow."""
        if self.peek():
            raise self._broken("Extra data", self._at)

    def _each(self, opening: str, closing: str, before: Callable[[], Any]) -> Iterator[Any]:
        self._take(opening)
        if self.peek() == closing:
            self._take(closing)
            return
        while True:
            yield before()
            if self.peek() == closing:
                break
            self._take(",")
        self._take(closing)

    def _name(self) -> str:
        if self.peek() != '"':
            raise self._broken("Expecting property name enclosed in double quotes", self._at)
        name: str = self.value()
        self._take(":")
        return name

    def _take(self, character: str) -> None:
        if self.peek() != character:
            raise self._broken(f"Expecting '{character}'", self._at)
        self._at += 1

    def _read(self) -> bool:
        """One more piece; False at the end of the file."""
        try:
            piece = self._file.read(PIECE)
        except UnicodeDecodeError as error:
            raise not_utf8(self.path, error) from None
        if piece:
            self._before += self._at
            self._text = self._text[self._at :] + piece
            self._at = 0
        return bool(piece)

    def _broken(self, why: str, at: int) -> SourceError:
        return SourceError(f"{self.path} is not JSON: {why}, at character {self._before + at}.")


def entries(path: Path, key: str | None = None) -> Iterator[tuple[int, Any]]:
    """(number from 0, value) of a file that is a list, or an object with one under ``key``."""
    with JsonStream(path) as stream:
        first = stream.peek()
        if first == "[":
            yield from _numbered(stream)
            stream.end()
            return
        found = False
        if first == "{" and key is not None:
            for name in stream.members():
                if name != key:
                    stream.skip()
                    continue
                if found:
                    raise SourceError(f"{path} has {key!r} twice in one object.")
                found = True
                if stream.peek() != "[":
                    raise SourceError(f"{path} holds no list under {key!r}.")
                yield from _numbered(stream)
        else:
            stream.value()
        stream.end()
        if not found:
            raise SourceError(f"{path} holds no list{f' under {key!r}' if key else ''}.")


def _numbered(stream: JsonStream) -> Iterator[tuple[int, Any]]:
    for number, _ in enumerate(stream.items()):
        yield number, stream.value()


def member(path: Path, key: str) -> Any:
    """The value under ``key`` of a file that is an object; None where there is none."""
    with JsonStream(path) as stream:
        if stream.peek() != "{":
            return None
        for name in stream.members():
            if name == key:
                return stream.value()
            stream.skip()
    return None


def named(path: Path) -> Iterator[tuple[str, Any]]:
    """(name, value) of a file that is an object; raises `SourceError` for a name twice, at any depth."""

    def distinct(pairs: Pairs) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            counts = [name for name, _ in pairs]
            twice = next(name for at, name in enumerate(counts) if name in counts[:at])
            raise SourceError(f"{path} has {twice!r} twice in one object.")
        return found

    with JsonStream(path, distinct) as stream:
        if stream.peek() != "{":
            kind = type(stream.value()).__name__
            raise SourceError(f"{path} is a {kind}, not an object with an entry per question.")
        seen: set[str] = set()
        for name in stream.members():
            if name in seen:
                raise SourceError(f"{path} has {name!r} twice in one object.")
            seen.add(name)
            yield name, stream.value()
        stream.end()
