"""What stands before replicas, on replicas by script: no Ray is needed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from router import ray_front
from router.ray_front import ATTEMPT, ATTEMPTS, FULL, REPLICA, Front, Marked
from tests.serving import app_of, error_of, good, settings, talking

Replica = Callable[[Scope, Receive, Send], Awaitable[None]]


class Scripted:
    """The proxy: each attempt is given to the next of ``replicas``, all further ones to the last.

    routes: what it says of its routes; None while it does not know.
    """

    def __init__(self, *replicas: Replica, routes: dict[str, str] | None = None) -> None:
        self.replicas = replicas
        self.routes = routes
        self.bodies: list[bytes] = []
        self.ids: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/-/routes":
            await send({"type": "http.response.start", "status": 503 if self.routes is None else 200})
            await send({"type": "http.response.body", "body": json.dumps(self.routes).encode()})
            return
        replica = self.replicas[min(len(self.ids), len(self.replicas) - 1)]
        self.ids.append(dict(scope["headers"]).get(b"x-request-id", b"").decode())
        body = bytearray()

        async def reads() -> Message:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        try:
            await replica(scope, reads, send)
        finally:
            self.bodies.append(bytes(body))


async def read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return bytes(body)


def saying(*parts: bytes, kind: str = "application/json", ends: bool = True, status: int = 200) -> Replica:
    """A replica that says ``parts``, and then ends its response or dies."""

    async def replica(scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        headers = [(b"content-type", kind.encode()), (REPLICA.encode(), b"r1"), (b"x-request-id", b"inside")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for number, part in enumerate(parts, 1):
            more = not ends or number < len(parts)
            await send({"type": "http.response.body", "body": part, "more_body": more})

    return replica


async def dies(scope: Scope, receive: Receive, send: Send) -> None:
    """Before it says anything; Serve sends nothing either."""
    await read(receive)


async def dies_unread(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()


async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("inside of Serve")


async def has_none(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve's own answer where there is no replica."""
    await send({"type": "http.response.start", "status": 503, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"Deployment(name='m3') is unavailable in /tmp"})


async def is_full(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve's own answer where as many requests wait as may."""
    await send({"type": "http.response.start", "status": FULL, "headers": [(b"retry-after", b"1")]})
    await send({"type": "http.response.body", "body": b"Request dropped due to backpressure."})


async def hangs(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:  # as Serve does, which takes it for a client that left
        return


def ask(front: Front, content: Any = b"question", path: str = "/v1/answer", **headers: str) -> httpx.Response:
    async def asking() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://test") as client:
            return await client.post(path, content=content, headers=headers)

    return asyncio.run(asking())


@pytest.mark.parametrize(
    "lost", [dies, dies_unread, fails, saying(b'{"ans', ends=False), saying(ends=False), has_none]
)
def test_a_request_whose_replica_dies_is_asked_again_and_nothing_of_the_dead_one_is_shown(
    lost: Replica,
) -> None:
    proxy = Scripted(lost, lost, saying(b'{"answer":', b'"red"}'))
    response = ask(Front(proxy, settings()), **{"x-request-id": "mine"})
    assert (response.status_code, response.json()) == (200, {"answer": "red"})
    assert response.headers[REPLICA] == "r1"
    assert response.headers[ATTEMPT] == "3"
    assert response.headers.get_list("x-request-id") == ["mine"]
    assert proxy.ids == ["mine"] * 3
    assert proxy.bodies[-1] == b"question"


def test_a_body_in_parts_is_asked_again_as_it_came() -> None:
    async def parts() -> Any:
        for part in (b"a", b"b", b"c"):
            yield part

    proxy = Scripted(dies_unread, dies, saying(b"{}"))
    response = ask(Front(proxy, settings()), parts())
    assert response.status_code == 200
    assert proxy.bodies == [b"a", b"abc", b"abc"]


@pytest.mark.parametrize("lost", [dies, fails, saying(b"{", ends=False), has_none])
def test_after_some_attempts_the_client_is_told_to_come_back(lost: Replica) -> None:
    proxy = Scripted(lost)
    response = ask(Front(proxy, settings()))
    assert (response.status_code, error_of(response)["code"]) == (503, "not_ready")
    assert error_of(response)["type"] == "overloaded_error"
    assert response.headers["retry-after"] == "1"
    assert len(proxy.ids) == ATTEMPTS


@pytest.mark.parametrize("before", [[], [dies], [has_none, dies]])
def test_where_serves_queue_is_full_the_client_is_told_so_and_nobody_asked_again(
    before: list[Replica],
) -> None:
    proxy = Scripted(*before, is_full, saying(b"{}"))
    response = ask(Front(proxy, settings()))
    assert (response.status_code, error_of(response)["code"]) == (503, "queue_full")
    assert error_of(response)["type"] == "overloaded_error"
    assert response.headers["retry-after"] == "1"
    assert len(proxy.ids) == len(before) + 1


def test_errors_of_a_replica_are_its_answer() -> None:
    for status in (400, 429, 500, 503):
        proxy = Scripted(saying(b'{"error": 1}', status=status), saying(b"{}"))
        response = ask(Front(proxy, settings()))
        assert (response.status_code, response.json()) == (status, {"error": 1})
        assert len(proxy.ids) == 1


def test_a_body_that_is_too_large_to_keep_is_asked_once() -> None:
    config = settings(max_body_bytes=1024)
    proxy = Scripted(dies)
    response = ask(Front(proxy, config), b"x" * 1025)
    assert (response.status_code, error_of(response)["code"]) == (503, "not_ready")
    assert proxy.bodies == [b"x" * 1025]
    assert ask(Front(Scripted(dies, saying(b"{}")), config), b"x" * 1024).status_code == 200


def test_a_stream_is_shown_as_it_comes_and_one_that_is_cut_ends_with_an_error() -> None:
    events = (b"data: 1\n\n", b"data: 2\n\n")
    whole = ask(Front(Scripted(dies, saying(*events, kind="text/event-stream")), settings()))
    assert whole.content == b"".join(events)
    proxy = Scripted(saying(*events, kind="text/event-stream; charset=utf-8", ends=False), saying(b"{}"))
    cut = ask(Front(proxy, settings())).content.decode().split("\n\n")
    assert cut[:2] == ["data: 1", "data: 2"]
    assert json.loads(cut[2].removeprefix("data: "))["error"]["code"] == "not_ready"
    assert cut[3:] == [""]
    assert len(proxy.ids) == 1


def test_events_are_not_kept_until_the_stream_ends() -> None:
    seen: list[bytes] = []
    between: list[int] = []

    async def replica(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream"), (REPLICA.encode(), b"r1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in (b"1", b"2"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
            between.append(len(seen))
        await send({"type": "http.response.body", "body": b"3"})

    async def send(message: Message) -> None:
        seen.append(message.get("body", b""))

    scope = {"type": "http", "path": "/v1/chat/completions", "headers": []}
    asyncio.run(Front(Scripted(replica), settings())(scope, _nothing, send))
    assert between == [2, 3]
    assert seen == [b"", b"1", b"2", b"3"]


async def _nothing() -> Message:
    return {"type": "http.request", "body": b""}


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_client_that_left_is_neither_asked_for_again_nor_answered(attempts: int) -> None:
    sent: list[Message] = []
    count = 0

    async def replica(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal count
        count += 1
        await receive()
        if count == attempts:
            await receive()

    messages: list[Message] = [{"type": "http.request", "body": b"", "more_body": True}]
    messages.append({"type": "http.disconnect"})

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/v1/answer", "headers": []}
    asyncio.run(Front(Scripted(replica), settings())(scope, receive, send))
    assert (count, sent) == (attempts, [])


def test_replicas_that_hang_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_front, "GRACE_S", 0.0)
    proxy = Scripted(hangs)
    response = ask(Front(proxy, settings(body_timeout_s=0.05, request_timeout_s=0.05)))
    assert (response.status_code, error_of(response)["code"]) == (504, "deadline_exceeded")
    assert len(proxy.ids) == 1


def test_what_is_serves_own_goes_through() -> None:
    response = ask(Front(has_none, settings()), path="/-/healthz")
    assert (response.status_code, response.text[:10]) == (503, "Deployment")


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("/v1/answer", True),
        ("/otherwise", True),
        ("/other", False),
        ("/other/v1/answer", False),
        ("/other/m3/v1/answer", True),
    ],
)
def test_another_application_is_answered_as_if_there_were_no_front(path: str, ours: bool) -> None:
    routes = {"/": "m3-router", "/other": "other", "/other/m3": "m3-router-large"}
    proxy = Scripted(has_none, routes=routes)
    response = ask(Front(proxy, settings()), path=path)
    assert response.status_code == 503
    assert (ATTEMPT in response.headers) == ours
    assert (response.text[:10] == "Deployment") != ours
    assert proxy.ids == ([proxy.ids[0]] * ATTEMPTS if ours else [""])


def test_an_application_that_came_just_now_is_known_and_a_proxy_that_knows_no_routes_has_those_it_had() -> (
    None
):
    proxy = Scripted(has_none)
    front = Front(proxy, settings())
    routes: dict[str, str] | None
    for routes, ours in ((None, True), ({"/": "other"}, False), (None, False), ({"/": "m3-router"}, True)):
        proxy.routes = routes
        assert (ATTEMPT in ask(front).headers) == ours


def test_the_service_behind_it_answers_and_refuses_as_it_does_alone() -> None:
    app = app_of()
    with talking(app) as talk:
        alone: Sequence[httpx.Response] = (talk.answer(), talk.answer(scale=37), talk.get("/nowhere"))
        talk.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(Front(Marked(app, "r7"), settings())), base_url="http://test"
        )
        behind = (talk.post("/v1/answer", json=good()), talk.answer(scale=37), talk.get("/nowhere"))
        for one, other in zip(alone, behind, strict=True):
            assert other.status_code == one.status_code
            assert other.headers[REPLICA] == "r7"
            assert len(other.headers.get_list("x-request-id")) == 1
        assert behind[0].json()["answer"] == alone[0].json()["answer"]
        assert error_of(behind[1]) == error_of(alone[1])
