"""The playground's examples, drawn by ScaleBench: ``python -m tests.playground_examples`` writes them.

They are pictures of the split ``dev``, on which nothing is trained.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from data.scalebench import picture
from training.report import readme_examples

STATIC = Path(__file__).parents[1] / "router" / "service" / "static"
FIRST = readme_examples.INDICES[1]
INDICES = (FIRST, *(index for index in readme_examples.INDICES if index != FIRST))
"""On ``dev``: those of the README, the one that the page opens with first."""

Example = tuple[dict[str, Any], Image.Image]


def drawn() -> list[Example]:
    """What ``examples.json`` says of each picture, and the picture."""
    pictures = [picture("dev", index) for index in INDICES]
    return [
        (
            {
                "family": each.family,
                "questions": [{"text": asked.text, "answer": asked.answer} for asked in each.questions],
            },
            each.image,
        )
        for each in pictures
    ]


def shipped() -> list[dict[str, Any]]:
    """What ``examples.json`` says, in the order of the page."""
    entries: list[dict[str, Any]] = json.loads((STATIC / "examples.json").read_text(encoding="utf-8"))
    return entries


def write(folder: Path) -> None:
    """``examples.json`` and one ``FAMILY.png`` each."""
    examples = drawn()
    for entry, image in examples:
        image.save(folder / f"{entry['family']}.png", optimize=True)
    text = json.dumps([entry for entry, _ in examples], indent=1, ensure_ascii=False)
    (folder / "examples.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(STATIC)
