"""The client that is awaited."""

from __future__ import annotations

from asyncio import sleep, to_thread
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self, Unpack

import httpx

from router.client.asking import Ask, ImageFile, Limits
from router.client.attempts import Attempts, Body, options, read
from router.service.bodies import AnswerBody, AnswersBody, CompareBody, ModelsBody, ReadyBody, RouteBody


class AsyncClient:
    """As `router.client.Client`, with methods that are awaited; close it, or use it in an ``async with``."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout_s: float = 90.0,
        retries: int = 2,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        address, headers, timeout = options(base_url, api_key, timeout_s)
        self._http = httpx.AsyncClient(
            base_url=address, headers=headers, timeout=timeout, transport=transport
        )
        self._address, self._timeout_s, self._retries = address, timeout_s, retries

    async def answer(self, image: ImageFile, question: str, **limits: Unpack[Limits]) -> AnswerBody:
        """The answer, at the scale that image and question need. limits: those of `Ask`."""
        return await self._ask(AnswerBody, "/v1/answer", Ask(image, question, **limits))

    async def route(self, image: ImageFile, question: str, **limits: Unpack[Limits]) -> RouteBody:
        """The scale that would be chosen; nothing is generated."""
        return await self._ask(RouteBody, "/v1/route", Ask(image, question, **limits))

    async def compare(self, image: ImageFile, question: str, **limits: Unpack[Limits]) -> CompareBody:
        """The answer, and beside it the answers at all scales."""
        return await self._ask(CompareBody, "/v1/compare", Ask(image, question, **limits))

    async def answers(self, asks: Iterable[Ask]) -> AnswersBody:
        """An answer or an error for each of ``asks``, in their order."""
        items = [await to_thread(ask.fields) for ask in asks]
        return await self._send(AnswersBody, "POST", "/v1/answers", {"items": items})

    async def ready(self) -> ReadyBody:
        """What is served; a `ServiceError` (503) while it is not ready."""
        return await self._send(ReadyBody, "GET", "/ready")

    async def models(self) -> list[str]:
        """Every name of the model, for OpenAI's clients."""
        return [model.id for model in (await self._send(ModelsBody, "GET", "/v1/models")).data]

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, kind: type[Body], path: str, ask: Ask) -> Body:
        return await self._send(kind, "POST", path, await to_thread(ask.fields))  # may read a file

    async def _send(
        self, kind: type[Body], method: str, path: str, fields: dict[str, Any] | None = None
    ) -> Body:
        attempts = Attempts(self._retries, f"{self._address}{path}", self._timeout_s)
        while True:
            outcome: httpx.Response | httpx.TransportError
            try:
                outcome = await self._http.request(method, path, json=fields)
            except httpx.TransportError as error:
                outcome = error
            if isinstance(outcome, httpx.Response) and outcome.is_success:
                return read(outcome, kind)
            await sleep(attempts.wait_s(outcome))
