"""(c) Requests of mixed scales that wait together: one batch against one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from m3_backbone import torch_engine
from m3_backbone.engine import QueueEngine
from training.bench import ours
from training.bench.equality import check_same
from training.bench.memory import peak
from training.bench.models import Sides, request_cost
from training.bench.padding import CountingDecoder, Padding
from training.bench.reference import Ask
from training.bench.timing import Clock, Turns
from training.bench.workload import Workload

NEW_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Waiting:
    """engine: through the engine's queue, as a server does it. model: one call of the model. Both against the
    reference, one request after the other. endless: all answers have `NEW_TOKENS` tokens.

    new_tokens, prompt_tokens, flops: of all requests together, the last as the cost model has them.
    peaks: bytes of (ours, reference).
    """

    endless: bool
    requests: int
    new_tokens: int
    prompt_tokens: int
    flops: int
    engine: Turns
    model: Turns
    padding: Padding
    peaks: tuple[int | None, int | None]
    ties: int

    @property
    def answers(self) -> str:
        """How long they are, in words."""
        return f"{NEW_TOKENS} tokens" if self.endless else "to their end"

    def json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "answers": self.answers,
            "new_tokens": self.new_tokens,
            "prompt_tokens": self.prompt_tokens,
            "flops": self.flops,
            "engine": self.engine.row(),
            "model": self.model.row(),
            "new_tokens_per_s": {
                "engine": round(self.new_tokens / self.engine.ours_s, 2),
                "model": round(self.new_tokens / self.model.ours_s, 2),
                "reference": round(self.new_tokens / self.model.reference_s, 2),
            },
            "padding_waste": round(self.padding.waste, 4),
            "forwards": self.padding.forwards,
            "peak_bytes": {"ours": self.peaks[0], "reference": self.peaks[1]},
            "ties": self.ties,
        }


def measure(sides: Sides, work: Workload, clock: Clock, repeats: int, *, endless: bool) -> Waiting:
    """``repeats`` turns of all requests; first once without a clock, to compare the answers."""
    backbone, reference = sides.backbone, sides.reference
    asks = work.waiting_asks(backbone.ladder.scales, NEW_TOKENS, endless=endless)

    def one_by_one() -> list[tuple[int, ...]]:
        return [reference.answer(ask) for ask in asks]

    engine = torch_engine(backbone, batch_size=len(asks), image_cache_bytes=0)
    through_engine, through_model = Turns(clock), Turns(clock)
    padding = Padding()
    with ours.without_end(backbone, endless), asyncio.Runner() as runner:
        runner.run(engine.start())
        try:
            waiting = partial(_run, runner, engine, asks)
            together = partial(ours.answer_together, backbone, asks)
            decoder = backbone.decoder
            backbone.decoder = CountingDecoder(decoder, padding)
            try:
                ours_peak, mine = peak(waiting, clock.device)
            finally:
                backbone.decoder = decoder
            reference_peak, theirs = peak(one_by_one, clock.device)
            ties = check_same(reference, asks, mine, theirs, backbone.dtype)
            check_same(reference, asks, together(), theirs, backbone.dtype)
            for _ in range(repeats):
                engine_s, _ = clock.time(waiting)
                reference_s, _ = clock.time(one_by_one)
                model_s, _ = clock.time(together)
                through_engine.note(engine_s, reference_s)
                through_model.note(model_s, reference_s)
        finally:
            runner.run(engine.close())
    prompts = [reference.prompt(ask).shape[1] for ask in asks]
    flops = [request_cost(sides, ask, len(ids))[1] for ask, ids in zip(asks, theirs, strict=True)]
    return Waiting(
        endless=endless,
        requests=len(asks),
        new_tokens=sum(map(len, theirs)),
        prompt_tokens=sum(prompts),
        flops=sum(flops),
        engine=through_engine,
        model=through_model,
        padding=padding,
        peaks=(ours_peak, reference_peak),
        ties=ties,
    )


def _run(runner: asyncio.Runner, engine: QueueEngine, asks: Sequence[Ask]) -> list[tuple[int, ...]]:
    return runner.run(ours.answer_waiting(engine, asks))
