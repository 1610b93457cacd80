"""The service as a process: a fresh interpreter without torch, and a real server with signals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chatting import asked
from tests.serving import good

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("M3_")}

FRESH = """
import asyncio, json, sys
import httpx
from m3_backbone.fake import FakeEngine
from router.service.app import create_app
from router.settings import Settings

async def main():
    app = create_app(Settings(engine="fake"), FakeEngine(), None)
    async with app.router.lifespan_context(app):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as http:
            response = await http.post("/v1/answer", json=json.loads(sys.argv[1]))
    unwanted = ("torch", "lightgbm", "transformers", "training", "data")
    loaded = [name for name in unwanted if name in sys.modules]
    print(json.dumps({"status": response.status_code, "loaded": loaded}))

asyncio.run(main())
"""


SLOW = """
import sys

import router.cli.serve
from m3_backbone.fake import FakeEngine
from router.cli.main import main

engine = FakeEngine(token_delay_s=0.2, answer_tokens=10)
generate = engine.fake.generate

def tells(*work):
    print("The work began.", file=sys.stderr, flush=True)
    return generate(*work)

engine.fake.generate = tells
router.cli.serve.load_engine = lambda settings: engine
main()
"""


STUCK = """
import os
import sys
import time

import router.cli.serve
from m3_backbone.fake import FakeEngine
from router.cli.main import main

os.environ["M3_DRAIN_TIMEOUT_S"] = "1"
engine = FakeEngine(answer_tokens=10)
generate = engine.fake.generate

def hangs(requests, on_token, cancelled):
    def first(index, event):
        on_token(index, event)
        print("The work began.", file=sys.stderr, flush=True)
        time.sleep(600)

    return generate(requests, first, cancelled)

engine.fake.generate = hangs
router.cli.serve.load_engine = lambda settings: engine
main()
"""


EARLY = """
import asyncio.base_events
import os
import signal

from router.cli.main import main

make = asyncio.base_events.BaseEventLoop.__init__

def interrupted(loop):
    os.kill(os.getpid(), signal.{name})
    make(loop)

asyncio.base_events.BaseEventLoop.__init__ = interrupted
main()
"""


@dataclass
class Server:
    """A running ``m3-router serve``; ``log`` is what it wrote to stderr so far."""

    process: subprocess.Popen[str]
    address: str
    log: list[str]

    def post(self, path: str, body: bytes, **headers: str) -> tuple[int, dict[str, object]]:
        request = urllib.request.Request(
            self.address + path, data=body, headers={"content-type": "application/json", **headers}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)


def _heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def serving(
    program: tuple[str, ...] = ("-m", "router.cli.main"), stdin: int = subprocess.DEVNULL
) -> Iterator[Server]:
    command = [sys.executable, *program, "serve", "--engine", "fake", "--port", "0"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=ENVIRONMENT,
        stdin=stdin,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_ctrl_c,  # what runs in a background job has it ignored
    ) as process:
        log: list[str] = []
        up = threading.Event()

        def read() -> None:
            assert process.stderr is not None
            for line in process.stderr:
                log.append(line)
                if "Serving " in line:
                    up.set()
            up.set()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            assert up.wait(120)
            address = re.search(r"on (http://[^\s\"]+)", "".join(log))
            assert address is not None, "".join(log)
            yield Server(process, address[1], log)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(60)
            reader.join(30)


def test_the_app_on_the_fake_engine_answers_without_torch_or_lightgbm() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FRESH, json.dumps(good())],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"status": 200, "loaded": []}


def test_a_real_server_answers_refuses_and_leaves_with_exit_code_0_on_sigterm() -> None:
    with serving() as server:
        status, body = server.post("/v1/answer", json.dumps(good()).encode())
        bad, error = server.post("/v1/answer", json.dumps(good(scale=37)).encode())
        again, _ = server.post("/v1/route", json.dumps(good(scale=36)).encode())
        elsewhere, rebound = server.post("/v1/route", json.dumps(good()).encode(), host="evil.example")
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(60)
    assert (status, bad, again, elsewhere, code) == (200, 400, 200, 400, 0)
    assert "invalid_host" in json.dumps(rebound)
    assert body["scale"] == 576
    assert set(error) == {"error"}
    log = "".join(server.log)
    assert f"{body['request_id']} POST /v1/answer 200" in log
    assert "What colour" not in log
    assert "Traceback" not in log


def test_a_real_server_leaves_with_exit_code_0_on_ctrl_c() -> None:
    with serving() as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(60) == 0
    assert "Traceback" not in "".join(server.log)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_the_loop_is_being_made_ends_the_service_without_a_traceback(name: str) -> None:
    with serving(("-c", EARLY.format(name=name))) as server:
        code = server.process.wait(60)
    assert code == 0
    assert "Traceback" not in "".join(server.log)


def test_a_terminal_that_is_closed_ends_the_service_and_an_open_one_does_not() -> None:
    ours, theirs = os.openpty()
    try:
        with serving(stdin=theirs) as server:
            server.post("/v1/route", json.dumps(good()).encode())  # from now on it serves
            server.process.send_signal(signal.SIGHUP)
            status, _ = server.post("/v1/route", json.dumps(good()).encode())
            os.close(ours)
            server.process.send_signal(signal.SIGHUP)
            code = server.process.wait(60)
    finally:
        os.close(theirs)
    assert (status, code) == (200, 0)
    assert "Traceback" not in "".join(server.log)


def _until_work_began(server: Server) -> None:
    end = time.monotonic() + 60
    while not any("The work began." in line for line in server.log):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_work_in_flight_is_drained_on_sigterm() -> None:
    with serving(("-c", SLOW)) as server, ThreadPoolExecutor() as pool:
        ready, _ = server.post("/v1/route", json.dumps(good()).encode())
        pending = pool.submit(server.post, "/v1/answer", json.dumps(good()).encode())
        _until_work_began(server)
        assert not pending.done()
        server.process.send_signal(signal.SIGTERM)
        status, body = pending.result(60)
        code = server.process.wait(60)
    assert (ready, status, code) == (200, 200, 0)
    assert body["answer"]


@pytest.mark.parametrize("stream", [False, True])
def test_who_is_not_done_when_the_drain_is_over_is_told_to_come_back(stream: bool) -> None:
    def ask(server: Server) -> tuple[int, str]:
        request = urllib.request.Request(
            f"{server.address}/v1/chat/completions",
            data=json.dumps(asked(stream=stream)).encode(),
            headers={"content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    with serving(("-c", STUCK)) as server, ThreadPoolExecutor() as pool:
        pending = pool.submit(ask, server)
        _until_work_began(server)
        server.process.send_signal(signal.SIGTERM)
        status, text = pending.result(60)
        assert server.process.wait(60) == 0
    *chunks, last = text.removesuffix("\n\n").split("\n\n")
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "not_ready"
    assert (status, len(chunks) > 0) == ((200, True) if stream else (503, False))
    assert "Traceback" not in "".join(server.log)
