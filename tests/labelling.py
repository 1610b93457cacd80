"""A deterministic synchronous backbone without weights, and samples whose pictures are made on demand.

Shared by the tests of data and of labelling. What it answers depends on image, question and scale alone.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.builder import TableBuilder
from data.records import Outcome, OutcomeTable, Sample
from m3_backbone.images import content_hash
from m3_backbone.scales import Ladder
from m3_backbone.types import Generation, GenerationRequest, RouteInputs
from training.label import Settings

LADDER = Ladder((1, 9, 36))
SETTINGS = Settings(prompt="plain", shard_images=4, batch_images=2, process=False)


@dataclass(frozen=True)
class FakeImage:
    ladder: Ladder
    size: tuple[int, int]
    content_hash: str
    views: int = 1
    nbytes: int = 0

    def n_tokens(self, scale: int) -> int:
        return self.ladder.validate(scale)

    def tokens(self, scale: int) -> NDArray[np.float32]:
        return np.zeros((self.n_tokens(scale), 4), np.float32)


@dataclass
class FakeBackbone:
    """``encoded``: content hashes in the order in which they were encoded."""

    name: str = "fake"
    fingerprint: str = "fake-1"
    ladder: Ladder = LADDER
    delay: float = 0.0  # seconds per batch
    encoded: list[str] = field(default_factory=list)

    def encode_image(self, image: Image.Image) -> FakeImage:
        digest = content_hash(image)
        self.encoded.append(digest)
        return FakeImage(self.ladder, image.size, digest)

    def summarise(self, image: FakeImage, question: str) -> RouteInputs:
        return route_inputs(image.content_hash, question, self.ladder, image.size)

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        time.sleep(self.delay)
        return [self._answer(request) for request in requests]

    def flops(self, *, views: int, visual_tokens: int, text_tokens: int, new_tokens: int) -> int:
        return views * 10**9 + (visual_tokens + text_tokens + new_tokens) * 10**6

    def _answer(self, request: GenerationRequest) -> Generation:
        ((image, scale),) = request.images
        draw = numbers(f"{image.content_hash} {request.turns[-1]}", 3)
        right = scale >= self.ladder.scales[int(abs(draw[0]) * 997) % len(self.ladder)]
        text = "yes" if right else f"no{scale}"
        margin = float(np.float16(abs(draw[1]) % 1))
        return Generation(
            text=text,
            token_ids=tuple(range(len(text))),
            logprobs=tuple(-float(i + 1) / 8 for i in range(len(text))),
            first_margin=margin,
            finish_reason="stop",
            prompt_tokens=scale + len(request.turns[-1].split()),
            visual_tokens=scale,
        )


def numbers(text: str, n: int) -> NDArray[np.float32]:
    """``n`` float32 that ``text`` determines, all representable in float16."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(n).astype(np.float16).astype(np.float32)


def route_inputs(
    image: str, question: str, ladder: Ladder = LADDER, size: tuple[int, int] = (8, 8)
) -> RouteInputs:
    words = question.split()
    pooled = numbers(image, 10 * 4).reshape(10, 4)
    return RouteInputs(
        ladder=ladder,
        image_size=size,
        views=1,
        visual_tokens=ladder.scales,
        text_tokens=len(words),
        grid_stats=numbers(image + "stats", 2),
        grid_stat_names=("lost_1", "lost_9"),
        pooled=pooled,
        fine=finer(pooled[1:], numbers(image + "fine", 9 * 4)),
        question=numbers(question, 3),
        question_tokens=np.array([len(word) for word in words], np.int32),
        interaction=numbers(image + question, 3),
        interaction_names=("sim_1", "sim_9", "sim_36"),
        question_text=question,
    )


def finer(pooled: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float32]:
    """[36, D] of float16 whose means over cells are ``pooled`` [9, D]; half of them differ from it."""
    cells = np.stack([pooled, pooled + noise.reshape(9, -1), pooled, pooled - noise.reshape(9, -1)], axis=1)
    grid = cells.reshape(3, 3, 2, 2, -1).transpose(0, 2, 1, 3, 4).reshape(36, -1)
    return np.asarray(grid.astype(np.float16).astype(np.float32))


@dataclass(frozen=True)
class Picture:
    """A small picture that a number determines; picklable, so a second process can make it."""

    number: int
    broken: bool = False

    def __call__(self) -> Image.Image:
        if self.broken:
            raise OSError(f"cannot read picture {self.number}")
        pixels = np.random.default_rng(self.number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        return Image.fromarray(pixels)


def samples(
    images: int, per_image: int = 2, *, broken: Sequence[int] = (), metric: str = "exact_match"
) -> list[Sample]:
    return [
        Sample(
            sample_id=f"toy/{i}/{q}",
            image_id=f"toy/{i}",
            open_image=Picture(i, broken=i in broken),
            question=f"question {q} of {i % 5}",
            answers=("yes",),
            metric=metric,
            dataset="toy",
            split="dev",
            family=("shapes", "text")[i % 2],
            kind=f"kind{q}",
            difficulty={"size": i / 4} if q == 0 else {"count": float(q)},
        )
        for i in range(images)
        for q in range(per_image)
    ]


MANIFEST: dict[str, object] = {
    "backbone": "fake",
    "backbone_fingerprint": "fake-1",
    "dataset": "toy",
    "split": "dev",
    "prompt": "plain",
    "metric": "exact_match",
}


def table(images: int = 4, per_image: int = 2, *, first: int = 0, **manifest: object) -> OutcomeTable:
    """An outcome table of made-up outcomes for `samples`, from image ``first`` on."""
    builder = TableBuilder({**MANIFEST, **manifest})
    for sample in samples(first + images, per_image)[first * per_image :]:
        inputs = route_inputs(sample.image_id, sample.question)
        draw = numbers(sample.sample_id, len(LADDER))
        builder.add(
            sample,
            inputs,
            [
                Outcome(
                    sample_id=sample.sample_id,
                    scale=scale,
                    answer="yes" if draw[s] > 0 else "",
                    score=0.3 if draw[s] > 0 else 0.0,
                    visual_tokens=scale,
                    text_tokens=inputs.text_tokens,
                    answer_tokens=1,
                    mean_logprob=float(draw[s]),
                    min_logprob=float(draw[s]),
                    first_margin=0.5,
                    flops=scale * 10**12,
                )
                for s, scale in enumerate(LADDER)
            ],
        )
    return builder.build()


def assert_equal(a: OutcomeTable, b: OutcomeTable, *, ignore: tuple[str, ...] = ("manifest",)) -> None:
    """Field by field; kinds of numbers included."""
    for column in fields(OutcomeTable):
        if column.name in ignore:
            continue
        x, y = getattr(a, column.name), getattr(b, column.name)
        if isinstance(x, np.ndarray):
            np.testing.assert_array_equal(x, y, err_msg=column.name)
            assert x.dtype.kind == y.dtype.kind, column.name
            if x.dtype.kind != "U":
                assert x.dtype == y.dtype, column.name
        elif column.name == "question_tokens":
            assert [t.tolist() for t in x] == [t.tolist() for t in y]
        elif column.name == "difficulty":
            assert x.keys() == y.keys()
            for key in x:
                np.testing.assert_array_equal(x[key], y[key])
        else:
            assert x == y, column.name


def content(out: Path) -> dict[str, bytes]:
    """The final table's files."""
    files = [p for p in sorted(out.glob("[!.]*.*")) if p.name != "run.json"]
    return {str(p.relative_to(out)): p.read_bytes() for p in (*files, *sorted(out.glob("grids/*")))}
