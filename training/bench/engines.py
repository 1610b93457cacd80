"""Requests of mixed scales that wait together: the torch engine's batches against vLLM's.

``python -m training.bench.engines --vllm enforce_eager=true`` prints both, then one JSON line; ``--out DIR``
also writes engines-bench.md and .json there. Pictures are encoded within the time, by the same code on both
sides. The torch engine is timed first, while no vLLM runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path
from statistics import median
from typing import Any

import torch

from m3_backbone import load_backbone, torch_engine
from m3_backbone.engine import QueueEngine
from m3_backbone.host import Host
from m3_backbone.model import DTYPES, M3Model
from training.bench import ours
from training.bench.ours import Ids
from training.bench.provenance import last_line, provenance
from training.bench.reference import Ask
from training.bench.timing import Clock
from training.bench.workload import Workload

NAME = "engines-bench"
REQUESTS = NEW_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Engines:
    """seconds: of each turn, by engine. alike: answers that are the same, token for token."""

    requests: int
    new_tokens: int
    threads: int
    alike: int
    seconds: dict[str, list[float]]
    provenance: dict[str, Any]

    def json(self) -> dict[str, Any]:
        return {
            "bench": "m3-engines",
            "provenance": self.provenance,
            "requests": self.requests,
            "new_tokens": self.new_tokens,
            "threads": self.threads,
            "alike": self.alike,
            "seconds": {name: [round(turn, 3) for turn in turns] for name, turns in self.seconds.items()},
            "new_tokens_per_s": {
                name: round(self.new_tokens / median(turns), 2) for name, turns in self.seconds.items()
            },
        }

    def markdown(self) -> str:
        of = self.json()
        rows = [
            f"| {name} | {rate:.1f} | {', '.join(f'{turn:.2f}' for turn in of['seconds'][name])} |"
            for name, rate in of["new_tokens_per_s"].items()
        ]
        return "\n".join(
            (
                "# Both engines under waiting requests\n",
                f"{self.requests} requests of all scales wait together; {self.new_tokens // self.requests} "
                "new tokens each, greedy, pictures encoded within the time by the same code. "
                f"{self.alike} of {self.requests} answers were the same, token for token.\n",
                "| engine | new tokens a second, median turn | turns, s |",
                "| --- | ---: | ---: |",
                *rows,
                f"\n{last_line(self.provenance)}\n",
            )
        )


def measure(
    load: Callable[[], M3Model],
    open_host: Callable[[M3Model], Host],
    *,
    requests: int = REQUESTS,
    new_tokens: int = NEW_TOKENS,
    repeats: int = 3,
    command: str = "",
    dtype: str = "float32",
) -> Engines:
    """Every answer has exactly ``new_tokens``; each engine has one turn without a clock first."""
    from m3_backbone.vllm_engine import VllmEngine

    backbone = load()
    clock = Clock(backbone.device)
    work = Workload.draw(4, waiting=requests)
    asks = work.waiting_asks(backbone.ladder.scales, new_tokens, endless=True)
    settings: dict[str, Any] = {"batch_size": len(asks), "image_cache_bytes": 0}
    seconds, answers = {}, {}
    with _threads_kept():
        seconds["torch"], answers["torch"] = _turns(
            torch_engine(backbone, **settings), backbone, asks, clock, repeats
        )
        split = load()
        host = open_host(split)
        try:
            engine = VllmEngine(split, host, **settings)
            seconds["vllm"], answers["vllm"] = _turns(engine, split, asks, clock, repeats)
        finally:
            host.close()
    made = sum(map(len, answers["torch"]))
    assert made == sum(map(len, answers["vllm"])) == len(asks) * new_tokens
    return Engines(
        requests=len(asks),
        new_tokens=made,
        threads=torch.get_num_threads(),
        alike=sum(one == other for one, other in zip(answers["torch"], answers["vllm"], strict=True)),
        seconds=seconds,
        provenance=provenance(
            backbone, command, dtype=dtype, repeats=repeats, packages=("m3-router", "torch", *_vllm())
        ),
    )


def _vllm() -> list[str]:
    """The package that vLLM is of."""
    return sorted(set(packages_distributions().get("vllm", [])))


def _turns(
    engine: QueueEngine, backbone: M3Model, asks: Sequence[Ask], clock: Clock, repeats: int
) -> tuple[list[float], list[Ids]]:
    with ours.without_end(backbone), asyncio.Runner() as runner:
        runner.run(engine.start())
        try:
            answers = runner.run(ours.answer_waiting(engine, asks))
            turns = [
                clock.time(lambda: runner.run(ours.answer_waiting(engine, asks)))[0] for _ in range(repeats)
            ]
        finally:
            runner.run(engine.close())
    return turns, answers


def write(measured: Engines, out: Path) -> None:
    """``engines-bench.md`` and ``.json`` in the folder ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{NAME}.md").write_text(measured.markdown(), encoding="utf-8")
    (out / f"{NAME}.json").write_text(json.dumps(measured.json(), indent=1) + "\n", encoding="utf-8")


@contextmanager
def _threads_kept() -> Iterator[None]:
    """vLLM's processes take as many threads as this one has."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.bench.engines", description=__doc__)
    parser.add_argument("--backbone", default="tiny", help="'tiny', a folder or a hub name")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=list(DTYPES), default="float32")
    parser.add_argument("--threads", type=int, help="CPU threads of either engine; torch's choice by default")
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--new-tokens", type=int, default=NEW_TOKENS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--vllm", action="append", default=[], metavar="NAME=VALUE", help="vLLM's options")
    parser.add_argument("--out", type=Path, help="folder for engines-bench.md and .json")
    asked = parser.parse_args(arguments)
    if asked.threads is not None:
        torch.set_num_threads(asked.threads)
    from m3_backbone.vllm import parse_options, require_vllm, vllm_host

    with tempfile.TemporaryDirectory() as cache:

        def open_host(backbone: M3Model) -> Host:
            return vllm_host(backbone, options=options, cache=Path(cache), batch_size=asked.requests)

        try:
            options = parse_options(asked.vllm)
            require_vllm("vllm", options)
            measured = measure(
                lambda: load_backbone(asked.backbone, dtype=asked.dtype, device=asked.device),
                open_host,
                requests=asked.requests,
                new_tokens=asked.new_tokens,
                repeats=asked.repeats,
                command=shlex.join([*parser.prog.split(), *(arguments or sys.argv[1:])]),
                dtype=asked.dtype,
            )
            if asked.out is not None:
                write(measured, asked.out)
        except (ValueError, OSError, ModuleNotFoundError) as error:
            sys.stderr.write(f"{parser.prog}: {error}\n")
            return 2
    found = measured.json()
    for name, rate in found["new_tokens_per_s"].items():
        turns = ", ".join(f"{turn:.2f}" for turn in found["seconds"][name])
        sys.stdout.write(f"{name:>6}: {rate:8.1f} new tokens/s   (turns: {turns} s)\n")
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
