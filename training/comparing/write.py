"""Comparison -> compare.html, compare.md and compare.json in a folder."""

from __future__ import annotations

import json
from pathlib import Path

from data.files import write_bytes
from training.comparing.comparison import Comparison
from training.comparing.markdown import markdown
from training.comparing.page import html_page
from training.comparing.rows import as_json


def write_comparison(c: Comparison, out: Path) -> tuple[Path, ...]:
    """Write the three files into ``out`` (made where it is missing); returns their paths."""
    out.mkdir(parents=True, exist_ok=True)
    contents = {
        "compare.html": html_page(c),
        "compare.md": markdown(c),
        "compare.json": json.dumps(as_json(c), indent=1, ensure_ascii=False, allow_nan=False) + "\n",
    }
    for name, content in contents.items():
        write_bytes(out / name, content.encode("utf-8", "replace"))
    return tuple(out / name for name in contents)
