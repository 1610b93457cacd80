"""(b) Labelling at all scales: `training.label` against one full pass per scale and question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from PIL import Image

from data.records import Sample
from m3_backbone.model import M3Model
from m3_backbone.types import Generation, GenerationRequest, RouteInputs
from training.bench.equality import check_same
from training.bench.memory import peak
from training.bench.models import Sides
from training.bench.reference import Ask, Reference
from training.bench.timing import Clock, Turns
from training.bench.workload import Workload, ask
from training.label import Settings, label

T = TypeVar("T")

NEW_TOKENS = 16
_CHECKED_PAIRS = 32  # a batch of labelling; compared, and its memory measured, before the clock runs


class Watched:
    """What `training.label` needs of a backbone; notes the seconds of its parts, and all answers in order."""

    def __init__(self, backbone: M3Model, clock: Clock) -> None:
        self._backbone = backbone
        self._clock = clock
        self.name = backbone.name
        self.fingerprint = backbone.fingerprint
        self.ladder = backbone.ladder
        self.seconds = {"encode": 0.0, "generate": 0.0, "summarise": 0.0}
        self.ids: list[tuple[int, ...]] = []

    def encode_image(self, image: Image.Image) -> Any:
        return self._timed("encode", lambda: self._backbone.encode_image(image))

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        answers = self._timed("generate", lambda: self._backbone.generate(requests))
        self.ids += [answer.token_ids for answer in answers]
        return answers

    def summarise(self, image: Any, question: str) -> RouteInputs:
        return self._timed("summarise", lambda: self._backbone.summarise(image, question))

    def flops(self, *, views: int, visual_tokens: int, text_tokens: int, new_tokens: int) -> int:
        return self._backbone.flops(
            views=views, visual_tokens=visual_tokens, text_tokens=text_tokens, new_tokens=new_tokens
        )

    def _timed(self, part: str, call: Callable[[], T]) -> T:
        seconds, value = self._clock.time(call)
        self.seconds[part] += seconds
        return value


@dataclass(frozen=True, slots=True)
class Labelling:
    """parts: share of our wall time inside the model's methods, over all turns.

    drawing: the same of one run as `m3-train label` does it, with a second process that draws the pictures.
    peaks: bytes of (ours, reference).
    """

    pairs: int
    pictures: int
    turns: Turns
    parts: dict[str, float]
    drawing: dict[str, float]
    peaks: tuple[int | None, int | None]
    ties: int

    @property
    def share(self) -> float:
        """Of labelling's time, inside the model."""
        return sum(self.parts.values())

    def json(self) -> dict[str, Any]:
        return {
            "pairs": self.pairs,
            "pictures": self.pictures,
            **self.turns.row(),
            "share_in_model": round(self.share, 4),
            "parts": {part: round(share, 4) for part, share in self.parts.items()},
            "share_in_model_while_drawing": round(sum(self.drawing.values()), 4),
            "peak_bytes": {"ours": self.peaks[0], "reference": self.peaks[1]},
            "ties": self.ties,
        }


def measure(sides: Sides, work: Workload, clock: Clock, dtype: str, repeats: int) -> Labelling:
    """All pairs at all scales, both ways in turn; every answer is compared."""
    backbone, reference = sides.backbone, sides.reference
    settings = Settings(sides.prompt, dtype, max_new_tokens=NEW_TOKENS, process=False)

    def ours(samples: Sequence[Sample], how: Settings = settings) -> Watched:
        watched = Watched(backbone, clock)
        with TemporaryDirectory() as folder:
            label(watched, samples, Path(folder) / "table", how)
        return watched

    def asked(samples: Sequence[Sample]) -> list[Ask]:
        return [ask(sample, scale, NEW_TOKENS) for sample in samples for scale in backbone.ladder]

    few = work.to_label(_CHECKED_PAIRS)
    ours_peak, watched = peak(lambda: ours(few), clock.device)
    reference_peak, theirs = peak(lambda: _one_by_one(reference, asked(few)), clock.device)
    check_same(reference, asked(few), watched.ids, theirs, backbone.dtype)

    samples, asks, turns = work.to_label(), asked(work.to_label()), Turns(clock)
    seconds = dict.fromkeys(watched.seconds, 0.0)
    ties = 0
    for _ in range(repeats):
        watched, theirs = turns.take(lambda: ours(samples), lambda: _one_by_one(reference, asks))
        ties = check_same(reference, asks, watched.ids, theirs, backbone.dtype)
        for part, took in watched.seconds.items():
            seconds[part] += took
    drawn, watched = clock.time(lambda: ours(work.to_draw(), replace(settings, process=True)))
    return Labelling(
        pairs=len(samples),
        pictures=len({sample.image_id for sample in samples}),
        turns=turns,
        parts={part: took / sum(turns.ours) for part, took in seconds.items()},
        drawing={part: took / drawn for part, took in watched.seconds.items()},
        peaks=(ours_peak, reference_peak),
        ties=ties,
    )


def _one_by_one(reference: Reference, asks: Sequence[Ask]) -> list[tuple[int, ...]]:
    return [reference.answer(ask) for ask in asks]
