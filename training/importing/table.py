"""Answers -> an outcome table, with what is not known said so in its manifest.

There are no route inputs: such a table can be reported on, and a router fitted on it sees the questions' text
alone (`training.candidates.question_text`). Prompt and answer lengths are estimated from their characters,
FLOPs priced at LLaVA-1.5-7B's shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.files import sha256
from data.records import SCHEMA_VERSION, OutcomeTable, RecordError, long_texts
from data.scoring import ScoringError, metric
from m3_backbone.cost import Architecture
from m3_backbone.types import SUMMARY_VERSION
from training.importing.rows import Answer

CHARACTERS = 4
"""Of English text per token of Llama's tokenizer, roughly."""

TEMPLATE = 40
"""Tokens of the conversation's template, roughly."""

ABSENT = ("absent",)
"""Name of the one column, of zeros, where an array of route inputs would be."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What the files do not say: the model, the data set and its metric, the split, the prompt.

    fingerprint: of the model's checkpoint here, so that routers fitted on the table may serve it.
    """

    model: str
    dataset: str
    metric: str
    split: str = "imported"
    prompt: str = "unknown"
    fingerprint: str = ""


def build_table(answers: Iterable[Answer], origin: Origin, files: Sequence[Path] = ()) -> OutcomeTable:
    """One table. Scores that the files do not give are computed by the metric.

    Raises `RecordError` naming file and row for a sample that has a scale twice, lacks one, or changes its
    question or references between scales; and when there is no answer at all.
    """
    samples: dict[str, dict[int, Answer]] = {}
    for a in answers:
        known = samples.setdefault(a.sample_id, {})
        if a.scale in known:
            raise RecordError(f"{a.where}: sample {a.sample_id!r} at scale {a.scale} comes twice.")
        first = next(iter(known.values()), a)
        for name in ("question", "references", "image", "family"):
            if getattr(first, name) != getattr(a, name):
                raise RecordError(
                    f"{a.where}: sample {a.sample_id!r} has {name} {getattr(a, name)!r}, in {first.where} it "
                    f"has {getattr(first, name)!r}."
                )
        known[a.scale] = a
    if not samples:
        raise RecordError("There is no answer in the files: nothing to import.")
    scales = tuple(sorted({scale for known in samples.values() for scale in known}))
    for name, known in samples.items():
        missing = [scale for scale in scales if scale not in known]
        if missing:
            where = next(iter(known.values())).where
            raise RecordError(f"{where}: sample {name!r} has no answer at scale {missing[0]}; others have.")
    return _table([[known[s] for s in scales] for known in samples.values()], scales, origin, files)


def _table(
    rows: list[list[Answer]], scales: tuple[int, ...], origin: Origin, files: Sequence[Path]
) -> OutcomeTable:
    firsts = [row[0] for row in rows]
    place: dict[str, int] = {}
    for a in firsts:
        place.setdefault(a.image, len(place))
    n, m = len(rows), len(place)
    tokens = np.array([[a.scale if a.tokens is None else a.tokens for a in row] for row in rows], np.int64)
    text_tokens = np.array([TEMPLATE + _length(a.question) for a in firsts], np.int64)
    answer_tokens = np.array([[1 + _length(a.answer) for a in row] for row in rows], np.int64)
    zeros = np.zeros((n, len(scales)), np.float32)
    return OutcomeTable(
        manifest={**_manifest(scales, origin), "imported_from": _hashes(files)},
        scales=scales,
        sample_ids=tuple(a.sample_id for a in firsts),
        questions=tuple(a.question for a in firsts),
        references=tuple(a.references for a in firsts),
        families=np.array([a.family for a in firsts], np.str_),
        kinds=np.full(n, "", np.str_),
        image_index=np.array([place[a.image] for a in firsts], np.int64),
        image_ids=tuple(place),
        image_sizes=np.zeros((m, 2), np.int64),
        image_views=np.ones(m, np.int64),
        answers=long_texts([[a.answer for a in row] for row in rows]),
        scores=np.array([[_score(a, origin.metric) for a in row] for row in rows], np.float64),
        visual_tokens=tokens,
        text_tokens=text_tokens,
        answer_tokens=answer_tokens,
        mean_logprob=zeros,
        min_logprob=zeros,
        first_margin=zeros,
        flops=_flops(tokens, text_tokens, answer_tokens),
        grid_stats=np.zeros((m, 1), np.float32),
        grid_stat_names=ABSENT,
        pooled=np.zeros((m, 1, 1), np.float32),
        question=np.zeros((n, 1), np.float32),
        question_tokens=(np.zeros(0, np.int32),) * n,
        interaction=np.zeros((n, 1), np.float32),
        interaction_names=ABSENT,
    )


def _manifest(scales: tuple[int, ...], origin: Origin) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "summary_version": SUMMARY_VERSION,
        "backbone": origin.model,
        "backbone_fingerprint": origin.fingerprint or f"imported: {origin.model}",
        "ladder": list(scales),
        "dataset": origin.dataset,
        "split": origin.split,
        "metric": origin.metric,
        "prompt": origin.prompt,
        "route_inputs": "none",
        "confidences": "none",
        "text_tokens": f"estimated: {TEMPLATE} and one per {CHARACTERS} characters",
        "flops": "priced at LLaVA-1.5-7B's shape",
    }


def _score(a: Answer, name: str) -> float:
    if a.score is not None:
        return a.score
    try:
        return metric(name)(a.answer, a.references)
    except ScoringError as error:
        raise RecordError(f"{a.where}: {error}") from None


def _length(text: str) -> int:
    """Tokens of a text, roughly."""
    return -(-len(text) // CHARACTERS)


def _flops(
    tokens: NDArray[np.int64], text: NDArray[np.int64], answer: NDArray[np.int64]
) -> NDArray[np.int64]:
    shape = Architecture.llava_7b()
    known: dict[tuple[int, int, int], int] = {}
    out = np.empty_like(tokens)
    for i, s in np.ndindex(tokens.shape):
        key = (int(tokens[i, s]), int(text[i]), int(answer[i, s]))
        if key not in known:
            known[key] = shape.request_flops(
                views=1, visual_tokens=key[0], text_tokens=key[1], new_tokens=key[2]
            )
        out[i, s] = known[key]
    return out


def _hashes(files: Sequence[Path]) -> list[Mapping[str, str]]:
    return [{"file": path.name, "sha256": sha256(path)} for path in files]
