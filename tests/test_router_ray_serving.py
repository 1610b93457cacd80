"""The service on a Ray cluster of several processes of this machine; skipped where Ray is not installed.

RAY_MINUTES says how long the slow test kills a replica every five seconds under load (`make test-ray`).
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from router.ray_front import ATTEMPT, PROXY_CALLBACK, REPLICA
from tests.chatting import asked
from tests.ray_processes import kill_one, workers
from tests.serving import app_of, data_uri, good, picture, talking

pytest.importorskip("ray", reason="the extra [ray] is not installed")

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(1200)]

ROOT = Path(__file__).resolve().parents[1]
MINUTES = float(os.environ.get("RAY_MINUTES", "2"))
EVERY_S = 5.0
CLIENTS = 8
HUNG_S = 120.0
"""Longer than the service may take for a request, body and grace included."""

REPLICAS = "ServeReplica"
MOST_BYTES = 2**16
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("M3_", "RAY_"))},
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
}
PICTURES = [data_uri(picture(colour, size)) for colour in ("red", "navy") for size in ((9, 30), (64, 48))]


@dataclass
class Server:
    """A running service. replies: of an app in this process, which says what is right."""

    process: subprocess.Popen[str]
    address: str
    log: list[str] = field(default_factory=list)

    def ask(self, path: str, body: Any = None, timeout_s: float = HUNG_S) -> Reply:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as response:
                return Reply(response.status, dict(response.headers), response.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, dict(error.headers), error.read().decode())

    def is_ready(self) -> bool:
        try:
            return self.ask("/ready").status == 200
        except OSError:
            return False


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def retryable(self) -> bool:
        """An error of the one shape, of which clients know that they may send the request again."""
        if self.status != 503 or self.headers.get("retry-after") is None:
            return False
        error = json.loads(self.text)["error"]
        return set(error) == {"message", "type", "param", "code"} and error["type"] == "overloaded_error"


@contextmanager
def running(command: list[str], port: int, **environment: str) -> Iterator[Server]:
    """``command``, from when it is ready to serve on ``port``."""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**ENVIRONMENT, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        server = Server(process, f"http://127.0.0.1:{port}")
        assert process.stdout is not None
        reader = threading.Thread(target=server.log.extend, args=(process.stdout,), daemon=True)
        reader.start()
        try:
            while not server.is_ready():
                assert process.poll() is None, "".join(server.log)
                time.sleep(0.2)
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(120)
            finally:
                process.kill()
            reader.join(10)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def serving(token_s: float, replicas: int = 2) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, "-m", "router.cli.main", "serve", "--ray", "--replicas", str(replicas)]
    command += ["--engine", "fake", "--port", str(port)]
    limits = {"M3_FAKE_TOKEN_S": str(token_s), "M3_MAX_BODY_BYTES": str(MOST_BYTES)}
    with running(command, port, **limits) as server:
        while f"Serving {replicas} replicas" not in "".join(server.log):  # the first of them was ready before
            time.sleep(0.2)
        yield server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(0.2) as served:
        yield served


def question(i: int) -> dict[str, Any]:
    scale = (1, 9, 36, 144, 576)[i % 5]
    return good(image=PICTURES[i % len(PICTURES)], question=f"What is number {i}?", scale=scale)


def right(numbers: range) -> dict[int, dict[str, Any]]:
    """What a service of one process answers to each `question`."""
    with talking(app_of()) as talk:
        return {i: talk.post("/v1/answer", json=question(i)).json() for i in numbers}


def same(reply: Reply, expected: dict[str, Any]) -> bool:
    found = json.loads(reply.text)
    return all(found[key] == expected[key] for key in ("answer", "scale", "visual_tokens"))


def test_answers_and_errors_are_those_of_the_service_alone(server: Server) -> None:
    expected = right(range(10))
    with ThreadPoolExecutor(10) as pool:
        replies = list(pool.map(lambda i: server.ask("/v1/answer", question(i)), expected))
    for reply, alone in zip(replies, expected.values(), strict=True):
        assert reply.status == 200
        assert same(reply, alone)
        assert reply.headers[ATTEMPT] == "1"
    assert len({reply.headers[REPLICA] for reply in replies}) == 2
    wrong = server.ask("/v1/answer", good(scale=37))
    assert (wrong.status, json.loads(wrong.text)["error"]["code"]) == (400, "invalid_scale")
    assert server.ask("/nowhere").status == 404
    assert json.loads(server.ask("/ready").text)["ready"]
    assert "m3_requests_total" in server.ask("/metrics").text
    assert "</html>" in server.ask("/").text


def test_limits_are_those_of_the_settings(server: Server) -> None:
    large = server.ask("/v1/answer", good(question="x" * MOST_BYTES))
    assert (large.status, json.loads(large.text)["error"]["code"]) == (413, "body_too_large")
    long = server.ask("/v1/answer", good(question="x" * 5000))
    assert (long.status, json.loads(long.text)["error"]["code"]) == (400, "question_too_long")


def test_a_stream_comes_as_it_is_made_and_whole(server: Server) -> None:
    whole = json.loads(server.ask("/v1/chat/completions", asked()).text)
    text = server.ask("/v1/chat/completions", asked(stream=True)).text
    assert text.endswith("data: [DONE]\n\n")
    assert told(text) == whole["choices"][0]["message"]["content"]


def told(stream: str) -> str:
    events = [json.loads(line[6:]) for line in stream.split("\n\n") if line and line != "data: [DONE]"]
    return "".join(event["choices"][0]["delta"].get("content", "") for event in events)


def test_requests_of_a_replica_that_is_killed_are_answered_by_another(server: Server) -> None:
    expected, again = right(range(100, 116)), 0
    for attempt in range(5):
        with ThreadPoolExecutor(len(expected)) as pool:
            replies = pool.map(lambda i: server.ask("/v1/answer", question(i)), expected)
            time.sleep(0.3)
            assert kill_one(server.process.pid, REPLICAS, random.Random(attempt))
            for reply, alone in zip(replies, expected.values(), strict=True):
                assert reply.status == 200, reply.text
                assert same(reply, alone)
                again += reply.headers[ATTEMPT] != "1"
        if again:
            return
    raise AssertionError("no request was in the hand of a replica that was killed")


def test_what_was_accepted_is_answered_before_the_end() -> None:
    (alone,) = right(range(7, 8)).values()
    with serving(1.0, replicas=1) as server, ThreadPoolExecutor(1) as pool:
        reply = pool.submit(server.ask, "/v1/answer", question(7))
        while "m3_engine_running 1" not in server.ask("/metrics").text:
            assert not reply.done()
            time.sleep(0.05)
        server.process.send_signal(signal.SIGTERM)
        assert same(reply.result(), alone)
        assert server.process.wait(120) == 0
    assert "Traceback" not in "".join(server.log)


def test_what_cannot_be_served_is_one_line() -> None:
    command = [sys.executable, "-m", "router.cli.main", "serve", "--ray", "--port", "0"]
    for more, message in (
        (["--replicas", "999"], "There is no room for 999 models."),
        (["--device", "cuda"], "The Ray cluster has 0 GPUs."),
        (["--bundle", "/nowhere"], "The replicas did not start."),
    ):
        done = subprocess.run(
            [*command, *more], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert message in done.stderr.splitlines()[-1], done.stderr
        assert done.stderr.splitlines()[-1].startswith("m3-router: ")


def test_the_config_file_serves_the_tiny_model_and_its_router(tmp_path: Path) -> None:
    port = free_port()
    config = (ROOT / "router" / "ray_serve.yaml").read_text(encoding="utf-8")
    assert "port: 8000\n" in config
    (tmp_path / "serve.yaml").write_text(config.replace("port: 8000\n", f"port: {port}\n"))
    command = [str(Path(sys.executable).with_name("serve")), "run", str(tmp_path / "serve.yaml")]
    with running(command, port, **PROXY_CALLBACK) as server:
        replies = [server.ask("/v1/answer", good(question="What colour is the circle?")) for _ in range(8)]
        assert {reply.status for reply in replies} == {200}
        bodies = [json.loads(reply.text) for reply in replies]
        assert len({(body["answer"], body["scale"]) for body in bodies}) == 1
        assert all(reply.headers[ATTEMPT] == "1" for reply in replies)
        assert json.loads(server.ask("/ready").text)["router"]
        while len(workers(server.process.pid, REPLICAS)) < 2:
            time.sleep(0.2)


@dataclass
class Seen:
    """What clients saw. again: requests that two replicas had. cut: streams that ended with an error."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, kind: str, what: str = "") -> None:
        with self.lock:
            self.counts[kind] += 1
            if kind in ("wrong", "hung", "failed"):
                self.wrong.append(what)


def talk(
    server: Server,
    expected: dict[int, dict[str, Any]],
    whole: str,
    stop: threading.Event,
    seen: Seen,
    first: int,
) -> None:
    """Requests one after another, every third of them a stream."""
    numbers = list(expected)
    for turn in itertools.count(first):
        if stop.is_set():
            return
        i = numbers[turn * 7 % len(numbers)]
        try:
            if turn % 3:
                reply = server.ask("/v1/answer", question(i))
                right_answer = reply.status == 200 and same(reply, expected[i])
            else:
                reply = server.ask("/v1/chat/completions", asked(stream=True))
                right_answer = reply.status == 200 and reply.text.endswith("data: [DONE]\n\n")
                right_answer = right_answer and told(reply.text) == whole
        except TimeoutError:
            seen.add("hung", str(i))
            continue
        except (OSError, ValueError, http.client.HTTPException) as error:
            seen.add("failed", f"{i}: {error!r}")
            continue
        if reply.headers.get(ATTEMPT, "1") != "1":
            seen.add("again")
        if right_answer:
            seen.add("right")
        elif reply.retryable:
            seen.add("retryable")
        elif reply.status == 200 and '"code": "not_ready"' in reply.text.rpartition("data: ")[2]:
            seen.add("cut")
        else:
            seen.add("wrong", f"{i}: {reply.status} {reply.text[:300]}")


@pytest.mark.slow
@pytest.mark.timeout(60 * MINUTES + 900)
def test_a_replica_killed_every_few_seconds_gives_no_wrong_answer_and_hangs_no_request(
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = right(range(60))
    seen, stop, rng, kills = Seen(), threading.Event(), random.Random(7), 0
    with serving(0.05) as server:
        chat = json.loads(server.ask("/v1/chat/completions", asked()).text)
        whole = chat["choices"][0]["message"]["content"]
        clients = [
            threading.Thread(target=talk, args=(server, expected, whole, stop, seen, first))
            for first in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        end = time.monotonic() + 60 * MINUTES
        while time.monotonic() < end:
            time.sleep(EVERY_S)
            kills += kill_one(server.process.pid, REPLICAS, rng) > 0
        stop.set()
        for client in clients:
            client.join(2 * HUNG_S)
        seen.counts["hung"] += sum(client.is_alive() for client in clients)
    report = {"minutes": MINUTES, "kills": kills, **{k: seen.counts[k] for k in sorted(seen.counts)}}
    with capsys.disabled():
        sys.stdout.write(json.dumps(report) + "\n")
    assert seen.wrong == []
    assert seen.counts["hung"] == 0
    assert kills >= 6 * MINUTES
    assert seen.counts["again"] > 0
    assert seen.counts["right"] > seen.counts["retryable"]
