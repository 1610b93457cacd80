"""What a request leaves behind: nothing of its picture, however it ended, without a garbage collector."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from m3_backbone.fake import FakeEngine
from router.service import body
from tests.chatting import asked
from tests.serving import app_of, good, settings, talking

Ask = tuple[str, dict[str, Any]]

ASKS: dict[str, Ask] = {
    "answer": ("/v1/answer", good()),
    "route": ("/v1/route", good()),
    "answers": ("/v1/answers", {"items": [good(), good()]}),
    "chat": ("/v1/chat/completions", asked()),
    "stream": ("/v1/chat/completions", asked(stream=True)),
}


class File(bytes):
    """An image file that says when it is gone."""

    gone: Callable[[], None]

    def __del__(self) -> None:
        self.gone()


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """One number for each file that was sent and is in memory still. No collector runs meanwhile."""
    files: list[int] = []
    read = body.image_bytes

    def noted(value: Any) -> bytes:
        file, number = File(read(value)), max(files, default=0) + 1
        files.append(number)
        file.gone = lambda: files.remove(number)
        return file

    monkeypatch.setattr(body, "image_bytes", noted)
    gc.collect()
    gc.disable()
    try:
        yield files
    finally:
        gc.enable()


def fails(*given: Any) -> Any:
    raise MemoryError("of the device")


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS.keys())
@pytest.mark.parametrize("fault", ["", "encode", "summarise", "generate"])
def test_a_picture_is_gone_when_its_request_has_ended(kept: list[int], ask: Ask, fault: str) -> None:
    engine = FakeEngine(image_cache_bytes=0)
    if fault:
        setattr(engine.runner, fault, fails)
    assert failed(kept, engine, ask) is (fault != "" and (fault, ask[0]) != ("generate", "/v1/route"))


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS.keys())
def test_a_file_that_is_no_picture_is_gone_too(
    kept: list[int], ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = body.image_bytes
    monkeypatch.setattr(body, "image_bytes", lambda value: whole(value[: len(value) // 8 * 4]))
    assert failed(kept, FakeEngine(), ask)


def failed(kept: list[int], engine: FakeEngine, ask: Ask) -> bool:
    """Asks, and waits until no file is ``kept``; whether the request, or all of its items, failed."""
    path, fields = ask
    with talking(app_of(engine, config=settings(route_timeout_s=30.0))) as http:
        response = http.post(path, json=fields)
        fault = response.status_code != 200 or '"failed":2' in response.text
        del response
        for _ in range(1000):  # the thread of the engine may be a moment later
            if not kept:
                break
            http.run(asyncio.sleep(0.001))
        assert not kept
    return fault
