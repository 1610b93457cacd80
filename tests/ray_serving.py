"""The service on a Ray cluster of this machine, spoken to over HTTP, and what is right to answer."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.serving import app_of, data_uri, good, picture, talking

ROOT = Path(__file__).resolve().parents[1]
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


SERVE = [sys.executable, "-m", "router.cli.main", "serve", "--ray"]


@contextmanager
def serving(token_s: float, replicas: int = 2, **environment: str) -> Iterator[Server]:
    port = free_port()
    command = [*SERVE, "--replicas", str(replicas), "--engine", "fake", "--port", str(port)]
    limits = {"M3_FAKE_TOKEN_S": str(token_s), "M3_MAX_BODY_BYTES": str(MOST_BYTES), **environment}
    with running(command, port, **limits) as server:
        while f"Serving {replicas} replica" not in "".join(server.log):  # the first of them was ready before
            time.sleep(0.2)
        yield server


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


def told(stream: str) -> str:
    events = [json.loads(line[6:]) for line in stream.split("\n\n") if line and line != "data: [DONE]"]
    return "".join(event["choices"][0]["delta"].get("content", "") for event in events)
