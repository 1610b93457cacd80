"""Our own client, waiting and awaited: typed replies, typed errors, retries where they may help."""

from __future__ import annotations

import asyncio
import re
import socket
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from m3_backbone.fake import MARKERS, FakeEngine
from m3_backbone.types import Health
from router.client import Ask, AsyncClient, Client, ClientError, ServiceError, Unreachable, UnreadableReply
from router.client.attempts import Attempts
from router.service.bodies import AnswerBody, CompareBody, RouteBody
from tests.serving import ScriptedRouter, Talk, app_of, picture, settings, talking

QUESTION = "What colour is this?"
Call = Callable[..., Any]
"""``call("answer", ...)`` on either client."""


@pytest.fixture(params=["waiting", "awaited"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the clients would have slept."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("router.client.blocking.sleep", slept.append)
    monkeypatch.setattr("router.client.asynchronous.sleep", sleep)
    return slept


def calling(kind: str, http: Talk, handle: Callable[[httpx.Request], Any], **options: Any) -> Call:
    """A client whose requests ``handle`` answers (a response, an exception, or a coroutine of a response)."""

    async def answered(request: httpx.Request) -> httpx.Response:
        outcome = handle(request)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome if isinstance(outcome, httpx.Response) else await outcome

    def call(name: str, *values: Any, **limits: Any) -> Any:
        if kind == "waiting":
            transport = httpx.MockTransport(lambda request: http.run(answered(request)))
            with Client("http://test/v1/", transport=transport, **options) as client:
                return getattr(client, name)(*values, **limits)

        async def awaited() -> Any:
            async with AsyncClient(
                "http://test", transport=httpx.MockTransport(answered), **options
            ) as client:
                return await getattr(client, name)(*values, **limits)

        return http.run(awaited())

    return call


def forwarding(http: Talk) -> Callable[[httpx.Request], Awaitable[httpx.Response]]:
    """Hands requests to the app that ``http`` speaks to."""

    async def forward(request: httpx.Request) -> httpx.Response:
        response = await http.client.request(
            request.method, request.url.path, content=request.content, headers=request.headers
        )
        return httpx.Response(response.status_code, headers=response.headers, content=response.content)

    return forward


def served(kind: str, http: Talk, **options: Any) -> Call:
    """A client of the app that ``http`` speaks to."""
    return calling(kind, http, forwarding(http), **options)


def test_every_endpoint_has_a_method_with_a_typed_reply(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(picture())
    with talking(app_of(router=ScriptedRouter())) as http:
        call = served(kind, http)
        answer = call("answer", picture(), QUESTION)
        of_file = [call("answer", file, QUESTION) for file in (path, str(path))]
        forced = call("answer", path, QUESTION, scale=9)
        route = call("route", path, QUESTION, max_visual_tokens=20)
        compared = call("compare", path, QUESTION)
        batch = call("answers", [Ask(path, QUESTION), Ask(path, QUESTION, scale=37)])
        ready = call("ready")
        models = call("models")
    assert isinstance(answer, AnswerBody)
    assert (answer.scale, answer.cost.full_visual_tokens, answer.router) == (36, 576, "scripted")
    assert {reply.answer for reply in of_file} == {answer.answer}
    assert (forced.scale, forced.decision.policy) == (9, "fixed")
    assert isinstance(route, RouteBody)
    assert route.scale == 9
    assert isinstance(compared, CompareBody)
    assert compared.answer == answer.answer
    assert [at.scale for at in compared.answers] == [1, 9, 36, 144, 576]
    good, bad = batch.results
    assert good.answer.answer == answer.answer
    assert (bad.status, bad.error.code) == (400, "invalid_scale")
    assert ready.scales == [1, 9, 36, 144, 576]
    assert models[:2] == ["fake", "fake@auto"]


def test_what_the_service_refuses_is_an_error_with_its_facts_and_is_not_tried_again(
    kind: str, pauses: list[float]
) -> None:
    with talking(app_of(FakeEngine(faults=MARKERS), config=settings(api_keys="right-key-123"))) as http:
        with pytest.raises(ServiceError, match=r"401 missing_api_key") as keyless:
            served(kind, http)("answer", picture(), QUESTION)
        call = served(kind, http, api_key="right-key-123")
        with pytest.raises(ServiceError, match=r"Valid scales: 1, 9") as wrong:
            call("answer", picture(), QUESTION, scale=37)
        with pytest.raises(ServiceError) as large:
            call("answer", picture(), "What? [oom]")
        assert call("answer", picture(), QUESTION).answer
    assert keyless.value.status == 401
    assert (wrong.value.status, wrong.value.code, wrong.value.param) == (400, "invalid_scale", "scale")
    assert len(wrong.value.request_id) == 32
    assert (large.value.status, large.value.code) == (503, "out_of_memory")  # x-should-retry: false
    assert pauses == []


def test_a_service_that_is_not_ready_is_asked_again_after_the_time_that_it_names(
    kind: str, pauses: list[float]
) -> None:
    class Waking(FakeEngine):
        asked = 0

        def health(self) -> Health:
            self.asked += 1
            return super().health() if self.asked > 2 else Health(ready=False)

    with talking(app_of(Waking())) as http:
        assert served(kind, http)("ready").ready
        assert pauses == [1.0, 1.0]
    with talking(app_of(Waking())) as http, pytest.raises(ServiceError, match="not_ready"):
        served(kind, http, retries=1)("ready")


@pytest.mark.parametrize(
    ("fault", "tries", "said"),
    [
        (httpx.ConnectError("refused"), 3, r"cannot be reached \(refused\)\. Start the service there"),
        (httpx.RemoteProtocolError("gone"), 3, r"broke the connection off \(gone\)"),
        (httpx.ConnectTimeout("slow"), 3, r"could not be reached within 10 s \(slow\)"),
        (httpx.ReadTimeout("late"), 1, r"gave no reply within 7 s \(late\)\. Raise timeout_s"),
        (httpx.ReadTimeout(""), 1, r"gave no reply within 7 s \(ReadTimeout\)"),
    ],
)
def test_no_response_is_unreachable_and_a_slow_one_is_not_waited_for_again(
    kind: str, pauses: list[float], fault: Exception, tries: int, said: str
) -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> Exception:
        seen.append(request)
        return fault

    with talking(app_of()) as http, pytest.raises(Unreachable, match=rf"^http://test/ready {said}") as caught:
        calling(kind, http, handle, timeout_s=7)("ready")
    assert len(seen) == tries
    told = "".join(traceback.format_exception(caught.value))
    assert "httpcore" not in told  # one error in the words of this client, no chain of those below
    assert "During handling" not in told
    assert "direct cause" not in told
    assert len(pauses) == tries - 1
    assert pauses == sorted(pauses)


@pytest.mark.parametrize(
    ("status", "headers", "tries"),
    [
        (502, {}, 3),
        (503, {"retry-after": "31"}, 1),
        (503, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 3),
        (429, {"x-should-retry": "false"}, 1),
        (500, {}, 1),
        (504, {}, 1),
        (302, {"location": "http://elsewhere/"}, 1),
    ],
)
def test_only_what_may_help_is_tried_again(
    kind: str, pauses: list[float], status: int, headers: dict[str, str], tries: int
) -> None:
    seen: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        return httpx.Response(status, headers=headers, text="<html>a proxy</html>")

    with talking(app_of()) as http, pytest.raises(ServiceError, match="not the service") as caught:
        calling(kind, http, handle)("ready")
    assert seen == ["/ready"] * tries
    assert (caught.value.status, caught.value.code) == (status, "")


def test_a_reply_that_is_none_of_ours_is_unreadable_and_new_fields_are_ignored(kind: str) -> None:
    with talking(app_of()) as http:
        with pytest.raises(UnreadableReply, match="The reply of /ready is not a ReadyBody"):
            calling(kind, http, lambda request: httpx.Response(200, json={"ready": True}))("ready")
        newer = {"object": "list", "data": [], "more": 1}
        call = calling(kind, http, lambda request: httpx.Response(200, json=newer))
        assert call("models") == []


def test_values_that_cannot_work_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="base_url has value 'localhost:8000'"):
        Client("localhost:8000")
    with pytest.raises(ValueError, match="It names no host"):
        Client("http://")
    with pytest.raises(ValueError, match="It is no address"):
        AsyncClient("http://[::1")
    with pytest.raises(ValueError, match="timeout_s has value 0"):
        AsyncClient(timeout_s=0)
    with pytest.raises(OSError, match="nowhere"):
        Ask("nowhere.png", QUESTION).fields()


def test_a_port_where_nobody_listens_is_one_error_with_the_address(kind: str, pauses: list[float]) -> None:
    with socket.socket() as taken:  # bound, and not listening: refused at once
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"

        async def awaited() -> None:
            async with AsyncClient(address) as client:
                await client.ready()

        def waiting() -> None:
            with Client(address) as client:
                client.ready()

        with pytest.raises(Unreachable, match=f"^{address}/ready cannot be reached") as caught:
            waiting() if kind == "waiting" else asyncio.run(awaited())
    assert "m3-router serve" in str(caught.value)
    assert "httpcore" not in "".join(traceback.format_exception(caught.value))


def test_every_error_is_one_of_a_family_and_pauses_grow() -> None:
    for error in (ServiceError, Unreachable, UnreadableReply):
        assert issubclass(error, ClientError)
    attempts = Attempts(3, "http://test/ready", 90.0)
    fault = httpx.ConnectError("refused")
    waits = [attempts.wait_s(fault) for _ in range(3)]
    assert 0.3 < waits[0] < waits[1] < waits[2] < 3
    with pytest.raises(Unreachable):
        attempts.wait_s(fault)
    with pytest.raises(Unreachable, match=r"^http://test/ready cannot"):
        Attempts(0, "http://me:secret@test/ready", 90.0).wait_s(fault)


def test_the_example_in_the_documentation_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(__file__).parents[1]
    monkeypatch.chdir(root)
    (code,) = re.findall(
        r"```python\n(from router\.client.*?)```", (root / "docs/operating.md").read_text(), re.DOTALL
    )
    with talking(app_of(router=ScriptedRouter())) as http:
        forward = forwarding(http)
        transport = httpx.MockTransport(lambda request: http.run(forward(request)))
        monkeypatch.setattr("router.client.Client", partial(Client, transport=transport))
        exec(code, {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 5 + 2 + 1
    assert lines[-1].startswith("400 invalid_scale ")
