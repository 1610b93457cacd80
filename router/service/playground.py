"""The playground: one HTML page, put together from the parts in ``static``; it loads nothing from elsewhere.

The examples are pictures and questions of ScaleBench, with their right answers: `static/examples.json`, with
``FAMILY.png`` for each of them (`python -m tests.playground_examples` draws them anew).
"""

from __future__ import annotations

import base64
import json
from functools import lru_cache
from importlib.resources import files

SCRIPTS = (
    "words",
    "picture",
    "stage",
    "examples",
    "target",
    "service",
    "refusal",
    "answer",
    "comparison",
    "history",
    "code",
    "playground",
)
"""Parts of the script, in their order: what runs at once stands in the last."""

_STATIC = files("router.service") / "static"


@lru_cache(maxsize=1)
def page() -> str:
    """The whole page as HTML."""
    parts = {
        "style": _text("page.css"),
        "examples": _examples(),
        "script": '"use strict";\n' + "\n".join(_text(f"{name}.js") for name in SCRIPTS),
    }
    html = _text("index.html")
    for name, text in parts.items():
        assert f"</{'style' if name == 'style' else 'script'}" not in text  # would end its own element
        html = html.replace("{{" + name + "}}", text)
    return html


def _text(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")


def _examples() -> str:
    """JSON: ``[{"family", "png" (base64), "questions": [{"text", "answer"}]}]``."""
    entries = [
        {**entry, "png": base64.b64encode((_STATIC / f"{entry['family']}.png").read_bytes()).decode()}
        for entry in json.loads(_text("examples.json"))
    ]
    return json.dumps(entries, ensure_ascii=False).replace("<", "\\u003c")
