"""The service on a Ray cluster of several processes of this machine; skipped where Ray is not installed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from router.ray_front import ATTEMPT, PROXY_CALLBACK, REPLICA
from tests.chatting import asked
from tests.ray_processes import kill_one, workers
from tests.ray_serving import (
    ENVIRONMENT,
    MOST_BYTES,
    REPLICAS,
    ROOT,
    Server,
    free_port,
    question,
    right,
    running,
    same,
    serving,
    told,
)
from tests.serving import good

pytest.importorskip("ray", reason="the extra [ray] is not installed")

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(0.2) as served:
        yield served


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


def test_who_finds_serves_queue_full_is_told_to_come_back() -> None:
    expected, full = right(range(12)), 0
    with serving(0.05, replicas=1, M3_MAX_IN_FLIGHT="2") as server, ThreadPoolExecutor(len(expected)) as pool:
        for attempt in range(5):
            assert kill_one(server.process.pid, REPLICAS, random.Random(attempt))
            replies = pool.map(lambda i: server.ask("/v1/answer", question(i)), expected)
            for reply, alone in zip(replies, expected.values(), strict=True):
                if reply.status == 200:
                    assert same(reply, alone)
                elif REPLICA not in reply.headers:
                    assert reply.retryable, reply
                    full += json.loads(reply.text)["error"]["code"] == "queue_full"
            if full:
                return
    raise AssertionError("Serve's queue was never full")


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
