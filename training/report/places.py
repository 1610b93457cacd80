"""Names that reports look for among outcome tables."""

import re

FINAL = "test"
"""The split that only `--final` may open."""

MANIFEST = "manifest.json"
"""A folder with this file holds a table."""


def original(split: str) -> str:
    """The split that ``split`` is a replicate of: "dev" for "dev+1" and "dev+2"; itself if it is none."""
    return re.sub(r"\+[1-9]\d*$", "", split)
