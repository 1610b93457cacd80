"""Reading foreign files: every row as what one sample was answered at one scale."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from data.sources.files import Row, SourceError, csv_rows, json_rows, jsonl_rows
from training.importing.layout import Layout, look_up
from training.importing.references import References


@dataclass(frozen=True, slots=True)
class Answer:
    """One sample at one scale. score, tokens: None where the file does not say."""

    where: str
    sample_id: str
    scale: int
    question: str
    references: tuple[str, ...]
    image: str
    family: str
    answer: str
    score: float | None
    tokens: int | None


def read_answers(
    path: Path,
    layout: Layout,
    *,
    scale: int | None = None,
    full_tokens: int | None = None,
    known: References | None = None,
) -> Iterator[Answer]:
    """The answers of one file: JSON lines, CSV, or JSON with a list (lmms-eval's older logs: under "logs").

    scale: of the whole file, where its rows do not name it. full_tokens: scales are shares of so many
    tokens. known: the data set that the questions are of, where the file has no references; ids and images
    are then that data set's. Raises `data.sources.SourceError` naming file and row.
    """
    if known is None and not layout.references:
        raise SourceError(
            f"{path} has no references: name the data set that has them, as in --references textvqa:FILE, or "
            "say where they are: --at references=PATH."
        )
    found = False
    for row in _rows(path):
        if known is not None and not known.wanted(_text(row, row.values, layout.id)):
            continue
        found = True
        if layout.scales:
            inner = look_up(row.values, layout.scales)
            if not isinstance(inner, Mapping) or not inner:
                raise SourceError(
                    f"{row.where}: {layout.scales} is {inner!r}, not an object with the scales."
                )
            for key, at in inner.items():
                if not isinstance(at, Mapping):
                    raise SourceError(f"{row.where}: {layout.scales}.{key} is {at!r}, not an object.")
                yield _answer(row, at, layout, _scale(key, full_tokens, row.where), known)
        else:
            named = look_up(row.values, layout.scale) if scale is None else None
            if scale is None and named is None:
                raise SourceError(
                    f"{row.where} has no {layout.scale or 'scale'}. Name the scale of the whole file: "
                    f"--file SCALE={path.name}."
                )
            of_row = _scale(named, full_tokens, row.where) if scale is None else scale
            yield _answer(row, row.values, layout, of_row, known)
    if not found:
        of = f" of category {known.category!r}" if known is not None and known.category else ""
        raise SourceError(f"{path} has no answers{of}: nothing to import.")


def _answer(row: Row, at: Mapping[str, Any], layout: Layout, scale: int, known: References | None) -> Answer:
    sample = _own(row, layout) if known is None else _known(row, layout, known)
    return Answer(
        where=row.where,
        scale=scale,
        question=_text(row, row.values, layout.question),
        answer=_text(row, at, layout.answer),
        score=_number(row, at, layout.score),
        tokens=_whole(row, at, layout.tokens),
        **sample,
    )


class _Sample(TypedDict):
    """What an `Answer` has of its sample, whatever was answered."""

    sample_id: str
    references: tuple[str, ...]
    image: str
    family: str


def _own(row: Row, layout: Layout) -> _Sample:
    """The sample as the row describes it."""
    sample_id = _text(row, row.values, layout.id)
    references = look_up(row.values, layout.references)
    if references is None:
        raise _lacks(row, row.values, layout.references)
    return _Sample(
        sample_id=sample_id,
        references=Row({layout.references: references}, row.where).texts(layout.references),
        image=_optional(row, row.values, layout.image) or sample_id,
        family=_optional(row, row.values, layout.family),
    )


def _known(row: Row, layout: Layout, known: References) -> _Sample:
    """The sample as the data set has it."""
    sample = known.find(_text(row, row.values, layout.id), _text(row, row.values, layout.question), row.where)
    return _Sample(
        sample_id=sample.sample_id, references=sample.answers, image=sample.image_id, family=sample.family
    )


def _rows(path: Path) -> Iterator[Row]:
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return (Row({k: _listed(v) for k, v in row.values.items()}, row.where) for row in csv_rows(path))
    if suffix == ".json":
        return json_rows(path, "logs")
    return jsonl_rows(path)


def _listed(cell: str) -> Any:
    """A JSON list where the cell is one, else the text."""
    if cell.startswith("[") and cell.endswith("]"):
        try:
            return json.loads(cell)
        except (json.JSONDecodeError, RecursionError):
            return cell
    return cell


def _text(row: Row, values: Mapping[str, Any], path: str) -> str:
    value = look_up(values, path)
    if value is None:
        raise _lacks(row, values, path)
    return Row({path: value}, row.where).text(path)


def _lacks(row: Row, values: Mapping[str, Any], path: str) -> SourceError:
    found = ", ".join(map(str, values)) or "nothing"
    return SourceError(f"{row.where} has no {path}; it has {found}. Say where it is: --at FIELD=PATH.")


def _optional(row: Row, values: Mapping[str, Any], path: str) -> str:
    return "" if look_up(values, path) is None else _text(row, values, path)


def _number(row: Row, values: Mapping[str, Any], path: str) -> float | None:
    value = look_up(values, path)
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool):
        number = float(value)
    if not 0.0 <= number <= 1.0:
        raise SourceError(f"{row.where}: {path} is {value!r}; a score is a number from 0 to 1.")
    return number


def _whole(row: Row, values: Mapping[str, Any], path: str) -> int | None:
    value = look_up(values, path)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,9}", str(value)):
        raise SourceError(f"{row.where}: {path} is {value!r}; tokens are a whole number.")
    return int(value)


def _scale(value: Any, full_tokens: int | None, where: str) -> int:
    """A number of tokens; with ``full_tokens`` a share of them."""
    text = str(value)
    if full_tokens is None:
        if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
            raise SourceError(
                f"{where}: scale {value!r} is not a whole number of tokens. Where scales are shares of all "
                "tokens, give --full-tokens."
            )
        return int(text)
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0.0 < share <= 1.0:
        raise SourceError(f"{where}: scale {value!r} is not a share of all tokens, above 0 and at most 1.")
    return max(1, round(share * full_tokens))
