"""A README whose figures are written by a command: each block of them stands between two comments.

``<!-- figures: NAME -->`` opens a block and ``<!-- end -->`` closes it, each on a line of its own. What is
outside of blocks is written by people and holds no figure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

OPENING = re.compile(r"<!-- figures: ([a-z-]+) -->")
CLOSING = "<!-- end -->"


class ReadmeError(ValueError):
    """A README whose blocks cannot be told apart, or figures that cannot be made; says the remedy."""


def blocks(text: str) -> dict[str, str]:
    """Name of each block -> what stands in it, without blank lines around. Raises `ReadmeError`."""
    found: dict[str, str] = {}
    for name, lines in _parts(text):
        if name is not None:
            found[name] = "".join(lines[1:-1]).strip("\n")
    return found


def filled(text: str, figures: Mapping[str, str]) -> str:
    """``text`` with ``figures`` (block's name -> Markdown) in their blocks; other blocks stay as they are.

    Raises `ReadmeError` for figures that have no block.
    """
    if missing := figures.keys() - blocks(text).keys():
        raise ReadmeError(
            f"The README has no block for {', '.join(sorted(missing))}. Put the lines "
            f"'<!-- figures: {min(missing)} -->' and '{CLOSING}' where it belongs."
        )
    made = []
    for name, lines in _parts(text):
        if name is not None and name in figures:
            made += [lines[0], "\n", figures[name].strip("\n"), "\n\n", lines[-1]]
        else:
            made += lines
    return "".join(made)


def _parts(text: str) -> Iterator[tuple[str | None, list[str]]]:
    """(block's name, its lines with both comments), and (None, lines) for what is outside, in order."""
    seen: set[str] = set()
    name: str | None = None
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        opening = OPENING.fullmatch(line.strip())
        if opening:
            if name is not None:
                raise ReadmeError(f"Line {number} opens a block within '{name}': put '{CLOSING}' before it.")
            if opening[1] in seen:
                raise ReadmeError(
                    f"Line {number} opens the block '{opening[1]}' a second time: name it anew."
                )
            yield None, lines
            name, lines = opening[1], [line]
            seen.add(name)
        elif line.strip() == CLOSING:
            if name is None:
                raise ReadmeError(f"Line {number} has value '{CLOSING}', and no block is open there.")
            yield name, [*lines, line]
            name, lines = None, []
        else:
            lines.append(line)
    if name is not None:
        raise ReadmeError(f"The block '{name}' is never closed: put '{CLOSING}' after it.")
    yield None, lines
