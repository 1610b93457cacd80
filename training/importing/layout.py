"""Where a foreign file has what an outcome table needs: paths into its rows, and known programs' layouts.

A path is a key, or keys and list places with dots between: ``doc.question``, ``filtered_resps.0``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths within a row; an empty path: the file does not have it (references then come from a data set).

    scales: where the row has all scales at once, as an object from scale to what was answered there; answer,
    score and tokens are then paths within that. Else a row is one scale's, which ``scale`` names, or the
    command line for the whole file.
    """

    id: str = "id"
    question: str = "question"
    references: str = "answers"
    answer: str = "answer"
    scale: str = "scale"
    scales: str = ""
    image: str = "image"
    family: str = "group"
    score: str = "score"
    tokens: str = "visual_tokens"


LAYOUTS = {
    "rows": Layout(),
    "wide": Layout(id="i", answer="pred", scales="scales", score="", tokens=""),
    "lmms": Layout(
        id="doc_id",
        question="doc.question",
        references="target",
        answer="filtered_resps.0",
        scale="",
        image="doc.image_id",
        family="",
        score="",
        tokens="",
    ),
    "llava": Layout(
        id="question_id",
        question="prompt",
        references="",
        answer="text",
        scale="",
        image="",
        family="",
        score="",
        tokens="",
    ),
}
"""Name -> layout. rows: one row per sample and scale. wide: one row per sample. lmms: sample logs of
lmms-eval (``--log_samples``), a file per scale. llava: answers of LLaVA's evaluation, a file per scale."""


def look_up(row: Mapping[str, Any], path: str) -> Any:
    """What is at ``path``, or None. A key that has dots in it wins over the path that it spells."""
    if not path:
        return None
    if path in row:
        return row[path]
    value: Any = row
    for step in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value
