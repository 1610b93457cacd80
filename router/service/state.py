"""What an app holds for its routes, and the steps that the asking endpoints share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from starlette.requests import Request

from router.constraints import Constraints
from router.service.bodies import AnswerBody
from router.service.body import picture_in, read_fields
from router.service.chat import Chat, chat_of
from router.service.failures import ClientGone
from router.service.fetching import Fetcher
from router.service.metrics import Metrics
from router.service.pipeline import Pipeline
from router.service.quality import Quality
from router.service.recording import Recorder
from router.service.reloading import Reloader
from router.service.replies import answer_body
from router.service.results import Answered, Pass, Picture, Routed
from router.service.schemas import constraints_of, question_of, refuse_unknown
from router.service.watching import Drawn, Watch
from router.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ask:
    """A validated request: what is asked, under which constraints, until when (`time.monotonic`).

    drawn: when it is to be answered again.
    """

    image: Picture
    question: str
    constraints: Constraints
    deadline: float
    request_id: str
    owner: str
    drawn: Drawn | None


@dataclass(frozen=True, slots=True)
class Service:
    """One per app; `service_of` finds it from a request."""

    settings: Settings
    pipeline: Pipeline
    metrics: Metrics
    recorder: Recorder
    quality: Quality
    watch: Watch
    reloader: Reloader | None = None
    fetcher: Fetcher | None = None

    @property
    def model(self) -> str:
        return self.pipeline.engine.name

    @property
    def router_version(self) -> str | None:
        return self.pipeline.router_version

    async def read(self, request: Request) -> Ask:
        """The request's body, validated. Raises members of `M3Error` only."""
        fields = await read_fields(request, self.settings)
        return self.ask_of(
            fields,
            deadline=time.monotonic() + self.settings.request_timeout_s,
            request_id=request.state.request_id,
            owner=owner_of(request),
        )

    def ask_of(self, fields: dict[str, Any], *, deadline: float, request_id: str, owner: str) -> Ask:
        """``fields`` of a body, validated. Raises members of `M3Error` only."""
        refuse_unknown(fields)
        constraints = constraints_of(fields, self.pipeline.engine.ladder, self.settings)
        question = question_of(fields.get("question"), self.settings)
        return Ask(
            image=picture_in(fields.get("image"), self.fetcher),
            question=question,
            constraints=constraints,
            deadline=deadline,
            request_id=request_id,
            owner=owner,
            drawn=self.watch.draw((question,), (constraints,)),
        )

    async def answer(self, ask: Ask, endpoint: str) -> AnswerBody:
        """``ask`` answered, and counted for ``endpoint``. Raises what `Pipeline.answer` raises."""
        done = await self.pipeline.answer(
            ask.image,
            (ask.question,),
            ask.constraints,
            deadline=ask.deadline,
            request_id=ask.request_id,
            owner=ask.owner,
        )
        self.count(done, endpoint=endpoint, request_id=ask.request_id, drawn=ask.drawn)
        return answer_body(done, self.pipeline, ask.request_id)

    async def read_chat(self, request: Request) -> Chat:
        """The body of a chat completion, validated. Raises members of `M3Error` only."""
        fields = await read_fields(request, self.settings, multipart=False)
        return chat_of(
            fields,
            request.headers.getlist("x-m3-scale"),
            model=self.model,
            ladder=self.pipeline.engine.ladder,
            settings=self.settings,
            fetcher=self.fetcher,
        )

    def count(self, done: Answered, *, endpoint: str, request_id: str, drawn: Drawn | None = None) -> None:
        """`record` its decisions, count what the answer cost, and answer it again later if it was drawn."""
        self.record(done.parts, done.timings_ms, endpoint=endpoint, request_id=request_id, passes=done.passes)
        self.metrics.passed([each.scale for each in done.passes])
        if done.first_token_ms is not None:
            self.metrics.first_token(done.first_token_ms / 1000)
        cost = done.cost
        self.metrics.answered(cost.visual_tokens, cost.full_visual_tokens, cost.flops, cost.full_flops)
        if drawn is not None:
            self.watch.offer(drawn, done, request_id)

    def record(
        self,
        parts: Sequence[Routed],
        timings_ms: dict[str, float],
        *,
        endpoint: str,
        request_id: str,
        passes: Sequence[Pass] = (),
    ) -> None:
        """Count the decisions of a request, one per image, and log them; time its stages.

        passes: of its answer; of several images there is one, in which each has its own scale.
        """
        self.metrics.stages(timings_ms)
        for routed in parts:
            decision = routed.decision
            scales = [each.scale for each in passes] if len(parts) == 1 else [decision.scale] * len(passes)
            self.metrics.decided(decision.scale, decision.policy, routed.fallback)
            self.quality.routed(routed)
            self.recorder.decided(routed, timings_ms, endpoint=endpoint, request_id=request_id, passes=scales)


def service_of(request: Request) -> Service:
    """That of the app which ``request`` came to."""
    return cast(Service, request.app.state.service)


def owner_of(request: Request) -> str:
    """Whose key the request came with (`router.service.keys`); empty when none is asked for."""
    return str(getattr(request.state, "owner", ""))


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is cancelled (`ClientGone`) when the client leaves before it is done.

    To be called when the body was read: the next message can only say that the client is gone.
    """

    task = asyncio.current_task()
    assert task is not None
    others, left = task.cancelling(), False

    async def gone() -> None:
        nonlocal left
        while (await request.receive())["type"] != "http.disconnect":
            pass
        left = True
        task.cancel()

    # Cancelled as `asyncio.timeout` does it: a task of its own for the work would cost every request more.
    watch = asyncio.ensure_future(gone())
    try:
        return await work
    except asyncio.CancelledError:
        if left and task.cancelling() == others + 1:
            raise ClientGone("The client left before its answer was ready.") from None
        raise
    finally:
        watch.cancel()
        if left:
            task.uncancel()
