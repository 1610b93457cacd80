"""What is asked: ScaleBench's pictures and questions, drawn before any clock runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image

from data.records import Sample
from data.scalebench import samples
from data.scalebench.generator import QUESTIONS_PER_IMAGE
from training.bench.reference import Ask

SPLIT = "dev"  # nothing is chosen by these measurements


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Opens a picture that is in memory already."""

    image: Image.Image

    def __call__(self) -> Image.Image:
        return self.image


@dataclass(frozen=True, slots=True)
class Workload:
    """samples: questions, those of one picture next to each other; their pictures are in memory.

    cold: pictures that are asked about at every scale. waiting: how many requests wait.
    """

    samples: tuple[Sample, ...]
    pairs: int
    cold: int
    waiting: int

    @classmethod
    def draw(cls, pairs: int, *, cold: int = 8, waiting: int = 16) -> Workload:
        """``pairs`` questions to label, and at least as many pictures as the other measurements need."""
        pictures = max(cold, waiting, -(-pairs // QUESTIONS_PER_IMAGE))
        images: dict[str, Image.Image] = {}
        drawn = []
        for sample in samples(SPLIT, pictures * QUESTIONS_PER_IMAGE):
            if sample.image_id not in images:
                images[sample.image_id] = sample.open_image()
            drawn.append(replace(sample, open_image=_Drawn(images[sample.image_id])))
        return cls(tuple(drawn), pairs, cold, waiting)

    def to_label(self, pairs: int | None = None) -> tuple[Sample, ...]:
        """The first ``pairs`` samples; all that are to be labelled by default."""
        return self.samples[: min(self.pairs, pairs or self.pairs)]

    def to_draw(self) -> list[Sample]:
        """The samples to label with pictures that are yet to be drawn, as `m3-train label` gets them."""
        return list(samples(SPLIT, self.pairs))

    def cold_asks(self, scale: int, new_tokens: int) -> list[Ask]:
        """One question about each of some pictures, answered with exactly ``new_tokens``."""
        return [ask(sample, scale, new_tokens, endless=True) for sample in self._one_each(self.cold)]

    def waiting_asks(self, scales: Sequence[int], new_tokens: int, *, endless: bool) -> list[Ask]:
        """Requests about different pictures, their scales mixed."""
        return [
            ask(sample, scales[place % len(scales)], new_tokens, endless=endless)
            for place, sample in enumerate(self._one_each(self.waiting))
        ]

    def _one_each(self, pictures: int) -> list[Sample]:
        """A question about each of the first pictures; not always the first one."""
        starts = range(0, pictures * QUESTIONS_PER_IMAGE, QUESTIONS_PER_IMAGE)
        return [self.samples[start + place % QUESTIONS_PER_IMAGE] for place, start in enumerate(starts)]


def ask(sample: Sample, scale: int, new_tokens: int, *, endless: bool = False) -> Ask:
    """A sample's question at one scale."""
    return Ask(sample.open_image(), sample.question, scale, new_tokens, endless)
