"""The client that waits."""

from __future__ import annotations

from collections.abc import Iterable
from time import sleep
from types import TracebackType
from typing import Any, Self, Unpack

import httpx

from router.client.asking import Ask, ImageFile, Limits
from router.client.attempts import Attempts, Body, options, read
from router.service.bodies import AnswerBody, AnswersBody, CompareBody, ModelsBody, ReadyBody, RouteBody


class Client:
    """Asks one service. Safe to share between threads; close it, or use it in a ``with``.

    base_url: where the service is. timeout_s: for one response. retries: further attempts after a response
    that says that they may help (busy, not ready), or none at all.
    Every method raises `ServiceError` for what the service refuses, `Unreachable` where no reply came, and
    otherwise another `ClientError`; those that take images OSError for a file that cannot be read.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout_s: float = 90.0,
        retries: int = 2,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        address, headers, timeout = options(base_url, api_key, timeout_s)
        self._http = httpx.Client(base_url=address, headers=headers, timeout=timeout, transport=transport)
        self._address, self._timeout_s, self._retries = address, timeout_s, retries

    def answer(self, image: ImageFile, question: str, **limits: Unpack[Limits]) -> AnswerBody:
        """The answer, at the scale that image and question need. limits: those of `Ask`."""
        return self._send(AnswerBody, "POST", "/v1/answer", Ask(image, question, **limits).fields())

    def route(self, image: ImageFile, question: str, **limits: Unpack[Limits]) -> RouteBody:
        """The scale that would be chosen; nothing is generated."""
        return self._send(RouteBody, "POST", "/v1/route", Ask(image, question, **limits).fields())

    def compare(self, image: ImageFile, question: str, **limits: Unpack[Limits]) -> CompareBody:
        """The answer, and beside it the answers at all scales."""
        return self._send(CompareBody, "POST", "/v1/compare", Ask(image, question, **limits).fields())

    def answers(self, asks: Iterable[Ask]) -> AnswersBody:
        """An answer or an error for each of ``asks``, in their order."""
        return self._send(AnswersBody, "POST", "/v1/answers", {"items": [ask.fields() for ask in asks]})

    def ready(self) -> ReadyBody:
        """What is served; a `ServiceError` (503) while it is not ready."""
        return self._send(ReadyBody, "GET", "/ready")

    def models(self) -> list[str]:
        """Every name of the model, for OpenAI's clients."""
        return [model.id for model in self._send(ModelsBody, "GET", "/v1/models").data]

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, kind: type[Body], method: str, path: str, fields: dict[str, Any] | None = None) -> Body:
        attempts = Attempts(self._retries, f"{self._address}{path}", self._timeout_s)
        while True:
            outcome: httpx.Response | httpx.TransportError
            try:
                outcome = self._http.request(method, path, json=fields)
            except httpx.TransportError as error:
                outcome = error
            if isinstance(outcome, httpx.Response) and outcome.is_success:
                return read(outcome, kind)
            sleep(attempts.wait_s(outcome))
