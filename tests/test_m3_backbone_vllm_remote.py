"""A vLLM on another machine, played by one on this: answers, refusals, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import m3_backbone.vllm
from m3_backbone import load_backbone
from m3_backbone.host import Host
from m3_backbone.language_model import LanguageModelDied
from m3_backbone.model import M3Model
from m3_backbone.types import (
    CheckpointError,
    EngineError,
    EngineUnavailable,
    GenerationRequest,
    PromptTooLong,
    QueueFull,
)
from m3_backbone.vllm import vllm_host
from m3_backbone.vllm_backbone import VllmBackbone
from m3_backbone.vllm_checkpoint import folder_name
from m3_backbone.vllm_engine import VllmEngine
from m3_backbone.vllm_remote import RemoteVllm
from tests.backbones import write_checkpoint
from tests.completions import Completions, served
from tests.engine_talk import answer, asks, during, picture, until
from tests.language_models import TorchClient


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> M3Model:
    return load_backbone(write_checkpoint(tmp_path_factory.mktemp("remote") / "m3"))


@pytest.fixture
def server(backbone: M3Model) -> Completions:
    return Completions(TorchClient(backbone), folder_name(backbone))


@pytest.fixture
def address(server: Completions) -> Iterator[str]:
    with served(server.app) as address:
        yield address


def requests(backbone: M3Model) -> list[GenerationRequest]:
    image = backbone.encode_image(picture())
    return [GenerationRequest(("What is this?",), ((image, scale),), 6) for scale in backbone.ladder]


def said(ids: str, logprobs: str, top: str) -> str:
    """An event of the completions API."""
    logprobs = f'{{"token_logprobs": {logprobs}, "top_logprobs": {top}}}'
    return f'{{"choices": [{{"token_ids": {ids}, "logprobs": {logprobs}}}]}}'


def test_it_answers_as_the_whole_model_does(backbone: M3Model, server: Completions, address: str) -> None:
    asked = requests(backbone)
    host = Host(RemoteVllm(address + "/", folder_name(backbone)))
    host.open()
    mine = VllmBackbone(backbone, host).generate(asked)
    host.close()
    for own, theirs in zip(mine, backbone.generate(asked), strict=True):
        assert own == replace(theirs, logprobs=own.logprobs, first_margin=own.first_margin)
        assert own.logprobs == pytest.approx(theirs.logprobs, abs=1e-4)
    sent = server.bodies[0]
    assert (sent["temperature"], sent["max_tokens"], sent["stream"]) == (0.0, 6, True)
    assert "prompt" not in sent


def test_one_that_serves_another_checkpoint_is_refused(server: Completions, address: str) -> None:
    host = Host(RemoteVllm(address, "llama-other"))
    with pytest.raises(CheckpointError, match=r"not llama-other: .*vllm_checkpoint` says how it starts"):
        host.open()
    assert host.dead


def test_one_that_is_not_there_is_named(backbone: M3Model) -> None:
    host = Host(RemoteVllm("http://127.0.0.1:9", folder_name(backbone)))
    with pytest.raises(LanguageModelDied, match=r"no vLLM at http://127\.0\.0\.1:9 \(ConnectError\)"):
        host.open()


@pytest.mark.parametrize("status", [400, 500])
def test_one_that_takes_no_embeddings_is_told_of_at_the_start(
    backbone: M3Model, server: Completions, address: str, status: int
) -> None:
    server.status = status
    with pytest.raises(EngineUnavailable, match=rf"at {address} .*status {status}.*--enable-prompt-embeds"):
        vllm_host(load_backbone(backbone.checkpoint.folder), f"vllm+{address}")


def test_one_that_gives_no_token_is_told_of_at_the_start(
    backbone: M3Model, server: Completions, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(m3_backbone.vllm, "_READY_S", 0.1)
    server.client.hangs = True
    with pytest.raises(EngineUnavailable, match=rf"at {address} gave no token within 0\.1 s"):
        vllm_host(load_backbone(backbone.checkpoint.folder), f"vllm+{address}")
    server.client.hangs = False


def test_a_request_that_it_has_no_room_for_is_too_long(
    backbone: M3Model, server: Completions, address: str
) -> None:
    server.most = 100
    own = load_backbone(backbone.checkpoint.folder)
    engine = VllmEngine(own, vllm_host(own, f"vllm+{address}"))

    async def talk(engine: Any) -> None:
        image = await engine.encode(picture())
        with pytest.raises(PromptTooLong, match="the context holds 100"):
            await answer(engine, asks(image, engine.ladder.smallest, max_new_tokens=100))
        assert await answer(engine, asks(image, engine.ladder.smallest))
        assert engine.capacity.context_tokens == 100

    during(engine, talk)


@pytest.mark.parametrize("status", [200, 503])
def test_one_that_answers_or_has_no_place_yet_is_taken(
    backbone: M3Model, server: Completions, address: str, status: int
) -> None:
    server.status = status
    host = vllm_host(load_backbone(backbone.checkpoint.folder), f"vllm+{address}")
    assert len(server.bodies) == 1
    assert not host.dead
    host.close()


@pytest.mark.parametrize(("status", "kind"), [(400, EngineError), (500, EngineError), (503, QueueFull)])
def test_a_refusal_fails_one_request_and_not_the_engine(
    backbone: M3Model, server: Completions, address: str, status: int, kind: type[EngineError]
) -> None:
    async def talk(engine: Any) -> None:
        image = await engine.encode(picture())
        server.status = status
        with pytest.raises(kind) as refused:
            await answer(engine, asks(image, engine.ladder.smallest))
        assert type(refused.value) is kind
        server.status = 200
        assert await answer(engine, asks(image, engine.ladder.smallest))
        assert engine.health().restarts == 0

    during(VllmEngine(backbone, Host(RemoteVllm(address, server.model))), talk)


@pytest.mark.parametrize(
    "reply",
    [
        "{",
        "null",
        "[]",
        "7",
        "{}",
        '{"choices": null}',
        '{"choices": [{"token_ids": [1]}]}',
        said("1", "[0]", "[{}]"),
        said('["a"]', "[0]", '[{"a": 0}]'),
        said("[1]", "[null]", '[{"a": 0}]'),
        said("[1, 2]", "[0]", '[{"a": 0}]'),
        said("[1]", "[0]", "[{}]"),
        said("[1]", "[0]", "[null]"),
        '{"error": "of no shape"}',
        '{"error": {"code": "BadRequest"}}',
    ],
)
def test_a_malformed_reply_fails_one_request_and_not_the_engine(
    backbone: M3Model, server: Completions, address: str, reply: str
) -> None:
    async def talk(engine: Any) -> None:
        image = await engine.encode(picture())
        server.says = reply
        with pytest.raises(EngineError, match="answered what no vLLM should") as refused:
            await answer(engine, asks(image, engine.ladder.smallest))
        assert type(refused.value) is EngineError
        server.says = ""
        assert await answer(engine, asks(image, engine.ladder.smallest))
        assert engine.health().restarts == 0

    during(VllmEngine(backbone, Host(RemoteVllm(address, server.model))), talk)


@pytest.mark.parametrize("fault", ["status", "cuts"])
def test_one_that_fails_is_opened_again(
    backbone: M3Model, server: Completions, address: str, fault: str
) -> None:
    async def talk(engine: Any) -> None:
        image = await engine.encode(picture())
        setattr(server, fault, 502 if fault == "status" else True)
        with pytest.raises(EngineUnavailable):
            await answer(engine, asks(image, engine.ladder.full, max_new_tokens=20))
        assert not engine.health().ready
        setattr(server, fault, 200 if fault == "status" else False)
        await until(lambda: engine.health().ready)
        assert await answer(engine, asks(image, engine.ladder.smallest))
        assert engine.health().restarts == 1

    during(VllmEngine(backbone, Host(RemoteVllm(address, server.model)), restart_s=0.01), talk)


def test_one_that_serves_another_model_for_a_while_is_opened_again(
    backbone: M3Model, server: Completions, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(engine: Any) -> None:
        image = await engine.encode(picture())
        model, server.model = server.model, "llama-other"
        server.status = 502
        with pytest.raises(EngineUnavailable):
            await answer(engine, asks(image, engine.ladder.smallest))
        await until(lambda: "serves llama-other, not" in caplog.text)
        server.model, server.status = model, 200
        await until(lambda: engine.health().ready)
        assert await answer(engine, asks(image, engine.ladder.smallest))

    during(VllmEngine(backbone, Host(RemoteVllm(address, server.model)), restart_s=0.01), talk)


def test_no_connection_is_taken_again(backbone: M3Model, server: Completions, address: str) -> None:
    """vLLM closes idle ones, and who asks just then would take it for dead."""

    async def talk(engine: Any) -> None:
        image = await engine.encode(picture())
        for _ in range(3):
            assert await answer(engine, asks(image, engine.ladder.smallest))
        assert len(set(server.ports)) == 3

    during(VllmEngine(backbone, Host(RemoteVllm(address, server.model))), talk)


def test_who_leaves_ends_the_request_there(backbone: M3Model, server: Completions, address: str) -> None:
    async def talk(engine: Any) -> None:
        image = await engine.encode(picture())
        server.client.hangs = True
        task = asyncio.create_task(answer(engine, asks(image, engine.ladder.smallest)))
        await until(lambda: server.client.streams == 1)
        task.cancel()
        await until(lambda: server.client.streams == 0)
        server.client.hangs = False

    during(VllmEngine(backbone, Host(RemoteVllm(address, server.model))), talk)
