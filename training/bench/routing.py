"""What routing takes on one core: the summary that the router reads, and the router itself.

``python -m training.bench.routing`` prints a table, then one JSON line; ``--out DIR`` also writes
routing-bench.md and .json there. Summaries are of m3-tiny's own grids, and of random ones of the size that
LLaVA-1.5-7B has (24 x 24 x 4096), with random vectors for the tokens of the same questions: route inputs are
as long there, so that the same router would read them. The two take turns, some rounds each.

Not measured: the vision tower, which runs whatever is decided, and HTTP.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.scalebench.generator import QUESTIONS_PER_IMAGE
from m3_backbone import load_backbone
from m3_backbone.encoded import TorchEncodedImage
from m3_backbone.model import M3Model
from m3_backbone.summary import summarise
from m3_backbone.types import RouteInputs
from router import Router, embedded_bundle
from router.cli.router_speed import BATCH, router_times
from router.errors import M3Error
from training.bench.provenance import last_line, provenance
from training.bench.timing import Clock
from training.bench.workload import Workload

NAME = "routing-bench"
ROUNDS, BLOCK = 300, 25
HIDDEN_7B = 4096
"""Width of a visual token of LLaVA-1.5-7B; its grid is as wide and high as m3-tiny's."""

OWN, LARGE = "m3-tiny", "7B"
FIRST, FURTHER, ROUTER, BOTH = "summary", "summary, further question", "router", "summary and router"


@dataclass(frozen=True, slots=True)
class Routing:
    """microseconds: grid -> part -> one for each round, of one request. router: see `router_times`."""

    shapes: dict[str, tuple[int, ...]]
    microseconds: dict[str, dict[str, list[float]]]
    router: dict[str, float]
    provenance: dict[str, Any]

    @property
    def rounds(self) -> int:
        return len(self.microseconds[OWN][FIRST])

    def json(self) -> dict[str, Any]:
        return {
            "bench": "m3-routing",
            "provenance": self.provenance,
            "rounds": self.rounds,
            "grids": {
                grid: {
                    "shape": list(self.shapes[grid]),
                    "us": {part: _quantiles(of) for part, of in parts.items()},
                }
                for grid, parts in self.microseconds.items()
            },
            "batch": {
                "requests": self.router["batch"],
                "router_us_per_request": self.router["batch_us_per_request"],
            },
        }

    def markdown(self) -> str:
        found = self.json()
        rows = [
            f"| {grid}, {' x '.join(map(str, of['shape']))} | {part} | {us['p50']:.0f} | {us['p95']:.0f} |"
            for grid, of in found["grids"].items()
            for part, us in of["us"].items()
        ]
        batch = found["batch"]
        return "\n".join(
            (
                "# What routing takes on one core\n",
                f"Microseconds of one request on one thread, over {self.rounds} rounds, {BLOCK} of one grid "
                "and then of the other. The vision tower is not in it: it runs whatever is decided. A "
                "further question about the same picture finds the picture's part of the summary made. "
                "Grids of 7B are random.\n",
                "| grid | part | median | 95% |",
                "| --- | --- | ---: | ---: |",
                *rows,
                f"\n{batch['requests']:.0f} requests at once, their summaries made: "
                f"{batch['router_us_per_request']:.1f} microseconds of the router for each.\n",
                f"{last_line(self.provenance)}\n",
            )
        )


def measure(
    backbone: M3Model, router: Router, *, rounds: int = ROUNDS, pictures: int = 32, command: str = ""
) -> Routing:
    """On one thread. router: made for ``backbone``. Raises `router.errors.BundleMismatch` otherwise."""
    router.bundle.check_backbone(backbone.fingerprint)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _measure(backbone, router, rounds, pictures, command)
    finally:
        torch.set_num_threads(before)


def _measure(backbone: M3Model, router: Router, rounds: int, pictures: int, command: str) -> Routing:
    clock = Clock(backbone.device)
    asked = Workload.draw(0, cold=0, waiting=pictures).samples[::QUESTIONS_PER_IMAGE]
    images = [backbone.encode_image(sample.open_image()) for sample in asked]
    large = _Large(backbone)
    times: dict[str, dict[str, list[float]]] = {OWN: {}, LARGE: {}}
    inputs: list[RouteInputs] = []
    ways = ((OWN, backbone.summarise), (LARGE, large.summarise))
    # In blocks, for a grid of 7B would else leave nothing in the caches; what comes first is not counted.
    blocks = [range(at, min(at + BLOCK, rounds)) for at in range(0, rounds, BLOCK)]
    for block, (grid, summary) in product(blocks, ways):
        for k in chain([-1], block):
            sample, image = asked[k % pictures], images[k % pictures]
            grids = image.grid if grid == OWN else large.grid
            fresh = replace(image, grid=grids, summary=None, _pooled={}, _tokens={})
            first, made = clock.time(partial(summary, fresh, sample.question))
            further, _ = clock.time(partial(summary, fresh, sample.question))
            route, _ = clock.time(partial(router.route, made))
            if grid == OWN:
                inputs.append(made)
            if k >= 0:
                for part, took in (
                    (FIRST, first),
                    (FURTHER, further),
                    (ROUTER, route),
                    (BOTH, first + route),
                ):
                    times[grid].setdefault(part, []).append(1e6 * took)
    packages = ("m3-router", "torch", "onnxruntime", "numpy")
    return Routing(
        {OWN: tuple(images[0].grid.shape[1:]), LARGE: tuple(large.grid.shape[1:])},
        times,
        router_times(router, inputs[:BATCH], rounds),
        provenance(backbone, command, dtype="float32", repeats=rounds, packages=packages),
    )


class _Large:
    """A grid and word embeddings of random numbers, as wide as a 7B model's; ``backbone``'s questions.

    grid: [1, G, G, 4096].
    """

    def __init__(self, backbone: M3Model) -> None:
        random = torch.Generator().manual_seed(0)
        side = backbone.ladder.side(backbone.ladder.full)
        self._backbone = backbone
        self._words = torch.randn((backbone.tokenizer.size, HIDDEN_7B), generator=random)
        self.grid = torch.randn((1, side, side, HIDDEN_7B), generator=random)

    def summarise(self, image: TorchEncodedImage, question: str) -> RouteInputs:
        """As `M3Model.summarise`; every token of the question is compared with the image."""
        ids = self._backbone.tokenizer.encode(question)
        return summarise(
            image,
            self._words[torch.tensor(ids)],
            torch.ones(len(ids), dtype=torch.bool),
            question_tokens=ids,
            question_text=question,
            text_tokens=self._backbone.prompt((question,), 1).text_tokens,
        )


def _quantiles(microseconds: Sequence[float]) -> dict[str, float]:
    p50, p95 = np.percentile(microseconds, [50, 95])
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1)}


def write(measured: Routing, out: Path) -> None:
    """``routing-bench.md`` and ``.json`` in the folder ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{NAME}.md").write_text(measured.markdown(), encoding="utf-8")
    (out / f"{NAME}.json").write_text(json.dumps(measured.json(), indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.bench.routing", description=__doc__)
    parser.add_argument("--backbone", default="tiny", help="'tiny', or the folder that --bundle was made for")
    parser.add_argument("--bundle", type=Path, help="of the router; m3-tiny's by default")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, help="folder for routing-bench.md and .json")
    asked = parser.parse_args(arguments)
    try:
        if asked.rounds < 1:
            raise ValueError(f"--rounds {asked.rounds}: at least one.")
        measured = measure(
            load_backbone(asked.backbone),
            Router.load(embedded_bundle() if asked.bundle is None else asked.bundle),
            rounds=asked.rounds,
            command=shlex.join([*parser.prog.split(), *(sys.argv[1:] if arguments is None else arguments)]),
        )
        if asked.out is not None:
            write(measured, asked.out)
    except (ValueError, OSError, M3Error) as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return 2
    sys.stdout.write(measured.markdown() + json.dumps(measured.json()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
