"""How long a request takes on a 7B model: from the paper's estimate, or from times that somebody measured.

A request alone on a machine: its views are encoded, its prompt goes through the language model (prefill), and
every token of the answer after the first takes a step (decoding). Nothing here runs a model.

What comes with the project is an estimate: table 9 of the paper (`training.report.paper`), prefill of a
LLaVA-1.5-7B on a V100 from a roofline, none of it measured. Around it, likewise estimated: a step of decoding
takes as long as the table's shortest prompt, since both read all weights once; the tower does its FLOPs at
the rate of the table's longest prompt, at which the machine computes all the time. A file of measured times
(`read_times`) takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data.sources.files import Row, SourceError, json_rows
from m3_backbone.cost import Architecture
from training.evaluation.frontier import Floats
from training.report.paper import paper

MS_7B = "ms_7b"
"""Name of this cost: milliseconds per request on a 7B model."""

TEXT_TOKENS = 30
"""Of the prompts of the paper's table 9."""


class Timed(Protocol):
    """What is read of `data.records.OutcomeTable`. Shapes as there."""

    @property
    def image_index(self) -> NDArray[np.int64]: ...
    @property
    def image_views(self) -> NDArray[np.int64]: ...
    @property
    def visual_tokens(self) -> NDArray[np.int64]: ...
    @property
    def text_tokens(self) -> NDArray[np.int64]: ...
    @property
    def answer_tokens(self) -> NDArray[np.int64]: ...


@dataclass(frozen=True)
class Times:
    """prompt_tokens: [P] ascending; prefill_ms, decode_ms: [P], of a whole prompt and per token after the
    first. encode_ms: per view. source: where they come from. measured: whether anybody held a watch.
    """

    source: str
    measured: bool
    encode_ms: float
    prompt_tokens: tuple[float, ...]
    prefill_ms: tuple[float, ...]
    decode_ms: tuple[float, ...]

    def encoding_ms(self, table: Timed) -> Floats:
        """[n, 1]: what is paid once, however many passes a request takes."""
        views: Floats = table.image_views[table.image_index].astype(np.float64)
        return views[:, None] * self.encode_ms

    def request_ms(self, table: Timed) -> Floats:
        """[n, S] milliseconds of every sample at every scale."""
        prompt = (table.visual_tokens + table.text_tokens[:, None]).astype(np.float64)
        steps = np.maximum(table.answer_tokens, 1) - 1
        prefill = _line(prompt, self.prompt_tokens, self.prefill_ms)
        decode = np.interp(prompt, self.prompt_tokens, self.decode_ms)
        return self.encoding_ms(table) + prefill + steps * decode


def paper_times() -> Times:
    """The estimate that comes with the project."""
    known = paper()["llm_prefill_cost"]
    rows = sorted(zip(known["scales"], known["prefill_ms"], known["tflops"], strict=True))
    scales, ms, tflops = zip(*rows, strict=True)
    shape = Architecture.llava_7b()
    return Times(
        source=f"{paper()['source']}, table {known['table']}",
        measured=False,
        encode_ms=shape.tower_flops(1) / (tflops[-1] * 1e12 / ms[-1]),
        prompt_tokens=tuple(float(scale + TEXT_TOKENS) for scale in scales),
        prefill_ms=tuple(map(float, ms)),
        decode_ms=(float(ms[0]),) * len(ms),
    )


def read_times(path: Path, platform: str = "") -> Times:
    """Measured times: a JSON list with a row per length of prompt.

    Its keys: n_prompt_tokens, encode_ms (of one view), prompt_eval_ms (prefill), decode_tok_per_s, and where
    the file has several machines, platform. Rows of one length are averaged.
    Raises `SourceError` naming file and row, and for a platform that has to be named.
    """
    rows = [row for row in json_rows(path) if not platform or row.values.get("platform") == platform]
    names = sorted({str(row.values.get("platform", "")) for row in (rows or json_rows(path))})
    if not rows and platform:
        raise SourceError(f"{path} has no times of {platform!r}; it has those of: {', '.join(names)}.")
    if not rows:
        raise SourceError(f"{path} has no rows: a row per length of prompt is needed.")
    if len(names) > 1:
        raise SourceError(f"{path} has times of {', '.join(names)}: name one, as in {names[0]}={path.name}.")
    by_length: dict[float, list[tuple[float, float]]] = {}
    for row in rows:
        rate = _positive(row, "decode_tok_per_s")
        by_length.setdefault(_positive(row, "n_prompt_tokens"), []).append(
            (_positive(row, "prompt_eval_ms"), 1000 / rate)
        )
    if len(by_length) < 2:
        raise SourceError(f"{path} has prompts of one length only: at least two are needed.")
    lengths = sorted(by_length)
    means = [np.mean(by_length[length], axis=0) for length in lengths]
    return Times(
        source=f"{path.name}{f', {names[0]}' if names[0] else ''}",
        measured=True,
        encode_ms=float(np.mean([_positive(row, "encode_ms") for row in rows])),
        prompt_tokens=tuple(lengths),
        prefill_ms=tuple(float(mean[0]) for mean in means),
        decode_ms=tuple(float(mean[1]) for mean in means),
    )


def _positive(row: Row, name: str) -> float:
    value = row.values.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < np.inf:
        raise SourceError(f"{row.where}: {name} is {value!r}, not a number above 0.")
    return float(value)


def _line(at: Floats, x: Sequence[float], y: Sequence[float]) -> Floats:
    """Piecewise linear; beyond the longest prompt the last piece goes on, before the shortest it is held."""
    slope = (y[-1] - y[-2]) / (x[-1] - x[-2])
    beyond: Floats = np.interp(at, x, y) + np.maximum(at - x[-1], 0.0) * max(slope, 0.0)
    return beyond
