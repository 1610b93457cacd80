"""Unchanged clients of OpenAI's API against a live server: the openai package and LangChain's ChatOpenAI.

Where they are not installed (`make dev` brings them) these tests skip.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.serving import data_uri, picture
from tests.test_router_service_process import ENVIRONMENT, SLOW, Server, serving

openai = pytest.importorskip("openai")

ROOT = Path(__file__).parents[1]
QUESTION = "What colour is this?"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def message(*colours: str, detail: str = "auto") -> dict[str, Any]:
    parts = [
        {"type": "image_url", "image_url": {"url": data_uri(picture(colour)), "detail": detail}}
        for colour in colours
    ]
    return {"role": "user", "content": [{"type": "text", "text": QUESTION}, *parts]}


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{server.address}/v1", api_key="unused") as client:
        yield client


def test_the_code_in_the_documentation_runs_as_it_is(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    (code,) = (code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "OpenAI(" in code)
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    exec(code.replace("http://127.0.0.1:8000", server.address), names)
    names["client"].close()
    assert capsys.readouterr().out.endswith("fake@576\n")


def test_a_completion_with_usage_and_our_facts_beside_it(client: Any) -> None:
    raw = client.chat.completions.with_raw_response.create(model="fake", messages=[message("red")])
    reply = raw.parse()
    assert reply.choices[0].message.content
    assert reply.choices[0].finish_reason == "stop"
    assert reply.model == "fake@576"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    assert raw.headers["x-m3-scale"] == "576"
    assert reply.model_extra["m3_routing"]["scale"] == 576


def test_a_stream_gives_the_same_words_and_usage_at_its_end(client: Any) -> None:
    asked = {"model": "fake@36", "messages": [message("red")]}
    whole = client.chat.completions.create(**asked)
    chunks = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"


def test_a_scale_is_forced_by_body_header_name_and_detail(client: Any) -> None:
    create = client.chat.completions.create
    replies = [
        create(model="fake", messages=[message("red")], extra_body={"m3": {"scale": 9}}),
        create(model="fake", messages=[message("red")], extra_headers={"x-m3-scale": "9"}),
        create(model="fake@9", messages=[message("red")]),
        create(model="fake", messages=[message("red", detail="low")]),
    ]
    assert {reply.model for reply in replies} == {"fake@9"}


def test_stop_several_images_and_none(client: Any) -> None:
    create = client.chat.completions.create
    whole = create(model="fake", messages=[message("red", "blue")]).choices[0].message.content
    cut = create(model="fake", messages=[message("red", "blue")], stop=whole[-1])
    assert whole.startswith(cut.choices[0].message.content)
    assert whole != cut.choices[0].message.content
    assert create(model="fake", messages=[{"role": "user", "content": "Hello"}]).model == "fake"


def test_models_are_listed_and_found(client: Any) -> None:
    names = [model.id for model in client.models.list()]
    assert names[:3] == ["fake", "fake@auto", "fake@1"]
    assert client.models.retrieve("fake@36").id == "fake@36"


def test_errors_are_the_packages_own_and_hopeless_ones_are_not_repeated(client: Any, server: Server) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-4o", messages=[message("red")])
    before = len(server.log)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="fake", messages=[message("red")], extra_body={"m3": {"scale": 37}}
        )
    assert (caught.value.code, caught.value.param) == ("invalid_scale", "scale")
    assert caught.value.request_id
    client.models.list()
    # The log is read by a thread: lines come late, but in order.
    deadline = time.monotonic() + 30
    while not any("GET /v1/models" in line for line in server.log[before:]) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sum("POST /v1/chat/completions 400" in line for line in server.log[before:]) == 1


def test_the_awaited_client_works_too(server: Server) -> None:
    async def ask() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=f"{server.address}/v1", api_key="unused") as client:
            asked = {"model": "fake", "messages": [message("red")]}
            whole = await client.chat.completions.create(**asked)
            pieces = [
                chunk.choices[0].delta.content or ""
                async for chunk in await client.chat.completions.create(**asked, stream=True)
            ]
        return whole.choices[0].message.content, "".join(pieces)

    whole, streamed = asyncio.run(ask())
    assert whole == streamed != ""


def test_langchain_answers_streams_and_counts(server: Server) -> None:
    langchain = pytest.importorskip("langchain_openai")
    messages = pytest.importorskip("langchain_core.messages")
    asked = [messages.HumanMessage(content=message("red")["content"])]
    model = langchain.ChatOpenAI(
        model="fake",
        base_url=f"{server.address}/v1",
        api_key="unused",
        stream_usage=True,
        extra_body={"m3": {"scale": 36}},
    )
    reply = model.invoke(asked)
    chunks = list(model.stream(asked))
    assert reply.content
    assert reply.response_metadata["model_name"] == "fake@36"
    assert reply.usage_metadata["total_tokens"] > 36
    assert "".join(chunk.content for chunk in chunks) == reply.content
    counted = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    assert counted[-1]["total_tokens"] == reply.usage_metadata["total_tokens"]


def test_a_busy_service_is_asked_again_until_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "M3_MAX_IN_FLIGHT", "1")
    asked = {"model": "fake", "messages": [message("red")]}
    with serving(("-c", SLOW)) as server, ThreadPoolExecutor() as pool:
        with openai.OpenAI(base_url=f"{server.address}/v1", api_key="unused", max_retries=20) as client:
            both = [pool.submit(client.chat.completions.create, **asked) for _ in range(2)]
            texts = {each.result(120).choices[0].message.content for each in both}
        server.process.terminate()
        server.process.wait(60)
    log = "".join(server.log)
    assert len(texts) == 1
    assert log.count("POST /v1/chat/completions 200") == 2
    assert "too_many_in_flight" in log
