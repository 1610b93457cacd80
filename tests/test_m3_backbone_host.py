"""A language model in a thread of its own: opened, asked from other loops, closed, opened again."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

import m3_backbone.host
from m3_backbone.host import Host
from m3_backbone.language_model import LanguageModelDied, Picked, Prefix, margin
from m3_backbone.types import GenerationRequest


class Counting:
    """Says as many tokens as it is asked for; with ``holds`` none of them yet."""

    def __init__(self) -> None:
        self.life: list[str] = []
        self.holds = self.dead = self.broken = False
        self.begun = self.left = 0

    async def open(self) -> None:
        self.life.append("open")
        if self.broken:
            raise LanguageModelDied("no")
        self.dead = False

    async def close(self) -> None:
        self.life.append("close")

    async def stream(self, prefix: Prefix) -> AsyncGenerator[Picked, None]:
        self.begun += 1
        try:
            for token in range(prefix.max_new_tokens):
                while self.holds:
                    await asyncio.sleep(0.001)
                if token in prefix.stop_ids:
                    raise ValueError("a stop id")
                yield Picked(token, -1.0, 0.5)
        finally:
            self.left += 1


def ask(tokens: int, *stops: int) -> Prefix:
    return Prefix.of(None, frozenset(stops), GenerationRequest(("a",), max_new_tokens=tokens))


async def tokens_of(host: Host, prefix: Prefix) -> list[int]:
    return [picked.token async for picked in host.stream(prefix)]


def test_it_answers_every_loop_that_asks() -> None:
    host = Host(Counting())
    host.open()
    assert [asyncio.run(tokens_of(host, ask(n))) for n in (1, 3)] == [[0], [0, 1, 2]]
    host.close()


def test_opening_twice_opens_once_and_a_dead_one_is_opened_again() -> None:
    client = Counting()
    host = Host(client)
    assert host.dead
    host.open()
    host.open()
    assert client.life == ["open"]
    client.dead = True
    assert host.dead
    host.open()
    host.reopen()
    host.close()
    host.close()
    assert client.life == ["open", "close", "open", "close", "open", "close"]
    assert host.dead


def test_one_that_does_not_open_is_closed_and_asked_in_vain() -> None:
    client = Counting()
    client.broken = True
    host = Host(client)
    with pytest.raises(LanguageModelDied, match="no"):
        host.open()
    assert client.life == ["open", "close"]
    with pytest.raises(LanguageModelDied, match="not open"):
        asyncio.run(tokens_of(host, ask(1)))


def test_a_fault_reaches_its_caller_after_the_tokens_before_it() -> None:
    host = Host(Counting())
    host.open()

    async def talk() -> list[int]:
        tokens = []
        try:
            async for picked in host.stream(ask(5, 2)):
                tokens.append(picked.token)
        except ValueError:
            return tokens
        raise AssertionError("no fault came")

    assert asyncio.run(talk()) == [0, 1]
    host.close()


def test_who_leaves_cancels_and_who_stays_when_it_closes_is_told() -> None:
    client = Counting()
    client.holds = True
    host = Host(client)
    host.open()

    async def talk() -> None:
        leaving = asyncio.create_task(tokens_of(host, ask(1)))
        staying = asyncio.create_task(tokens_of(host, ask(1)))
        await asyncio.sleep(0.05)
        leaving.cancel()
        while client.left < 1:
            await asyncio.sleep(0.001)
        await asyncio.to_thread(host.close)
        with pytest.raises(LanguageModelDied, match="closed"):
            await staying
        assert client.left == 2

    asyncio.run(talk())


def test_a_list_is_answered_in_order_and_a_fault_stays_with_its_own() -> None:
    host = Host(Counting())
    host.open()
    first, second, third = host.answer_all([ask(2), ask(5, 1), ask(1)])
    host.close()
    assert isinstance(first, list)
    assert [picked.token for picked in first] == [0, 1]
    assert isinstance(second, ValueError)
    assert third == [Picked(0, -1.0, 0.5)]


def test_a_list_that_is_not_answered_when_it_closes_ends_too() -> None:
    client = Counting()
    client.holds = True
    host = Host(client)
    host.open()
    results: list[list[Picked] | Exception] = []
    asking = threading.Thread(target=lambda: results.extend(host.answer_all([ask(1), ask(1)])), daemon=True)
    asking.start()
    while client.begun < 2:
        time.sleep(0.001)
    host.close()
    asking.join(60)
    assert [type(result) for result in results] == [LanguageModelDied] * 2
    assert client.left == 2


def test_the_thread_of_one_that_cannot_close_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Counting()
    host = Host(client)
    host.open()
    thread = host._thread
    assert thread is not None

    async def fails() -> None:
        raise RuntimeError("it does not close")

    monkeypatch.setattr(client, "close", fails)
    with pytest.raises(RuntimeError, match="does not close"):
        host.close()
    assert not thread.is_alive()
    monkeypatch.undo()
    host.open()
    host.close()


def test_the_margin_is_that_of_the_two_most_probable() -> None:
    assert margin([-2.0, -0.5, -1.0]) == pytest.approx(0.6065 - 0.3679, abs=1e-4)
    assert margin([0.0]) == 1.0


def test_a_seed_of_any_size_fits_into_vllms() -> None:
    request = GenerationRequest(("a",), temperature=0.5, top_p=0.0, seed=-1)
    prefix = Prefix.of(None, frozenset(), request)
    assert (prefix.seed, prefix.temperature, prefix.top_p) == (2**63 - 1, 0.5, 0.0)


class Patient:
    """A lock whose next owner is whoever waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        time.sleep(0.1)


def test_who_closes_while_it_is_opened_again_finds_it_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Counting()
    host = Host(client)
    monkeypatch.setattr(host, "_change", Patient())
    host.open()
    closer = threading.Thread(target=host.close)
    close = client.close

    async def closes() -> None:
        await close()
        if closer.ident is None:
            closer.start()

    monkeypatch.setattr(client, "close", closes)
    host.reopen()
    closer.join()
    assert client.life == ["open", "close", "open", "close"]
    assert host.dead


def test_one_that_does_not_close_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(Counting):
        async def close(self) -> None:
            over.wait()  # in the loop's thread, as vLLM is while it starts

    monkeypatch.setattr(m3_backbone.host, "_CLOSING_S", 0.1)
    over = threading.Event()
    host = Host(Stuck())
    host.open()
    thread = host._thread
    assert thread is not None
    left: list[float] = []
    monkeypatch.setattr(thread, "join", left.append)
    host.close()
    over.set()
    assert left == [0.0]
    assert host.dead


ENDS = """
from m3_backbone.host import Host
from tests.test_m3_backbone_host import Counting

class Telling(Counting):
    async def close(self):
        print("closed", flush=True)

Host(Telling()).open()
raise SystemExit(2)
"""


def test_a_process_that_ends_on_an_error_closes_it() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ENDS],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "closed\n", "")
