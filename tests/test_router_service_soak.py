"""The service under mixed traffic for a long time: memory, files and threads must not grow after the warm-up.

SOAK_MINUTES says how long, a quarter of it warm-up (the first file of the decision log brings Arrow's writer
into memory, after half a minute); `make soak` takes 30. Linux, whose /proc is read.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import socket
import statistics
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.chatting import asked
from tests.serving import data_uri, good, picture
from tests.test_router_service_process import ENVIRONMENT, Server, serving

MINUTES = float(os.environ.get("SOAK_MINUTES", "4"))
CLIENTS = 4
EVERY_S = 1.0

MEMORY_MIB = 8.0
"""Growth of resident memory that is none: what the allocator keeps differs from minute to minute."""

PROGRAM = """
import router.cli.serve
from m3_backbone.fake import MARKERS, FakeEngine
from router.cli.main import main
from tests.test_router_service_cascade import Thinking

def engine(settings):
    faults = {text: fault for text, fault in MARKERS.items() if fault not in ("hang", "death")}
    return FakeEngine(faults=faults, token_delay_s=0.002, image_cache_bytes=settings.image_cache_bytes)

router.cli.serve.load_engine = engine
router.cli.serve._router = lambda settings, engine: Thinking(climb={})
main()
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(60 * MINUTES + 600),
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc"),
]


@dataclass(frozen=True)
class Sample:
    """The server's process at one time."""

    memory_mib: float
    files: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Sample:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        status = dict(line.split(":", 1) for line in lines)
        return cls(
            memory_mib=int(status["VmRSS"].split()[0]) / 1024,
            files=len(list(Path(f"/proc/{pid}/fd").iterdir())),
            threads=int(status["Threads"]),
        )


PICTURES = [picture(colour, size) for colour in ("red", "navy", "#123456") for size in ((9, 30), (64, 48))]


def image(i: int) -> str:
    return data_uri(PICTURES[i % len(PICTURES)])


def plain(i: int) -> tuple[str, Any]:
    return "/v1/answer", good(image=image(i), question=f"What is number {i % 97}?")


def chat(i: int) -> tuple[str, Any]:
    return "/v1/chat/completions", asked(stream=i % 2 == 0)


def thought_over(i: int) -> tuple[str, Any]:
    """Passes of which some are cut off: streams hold one token back."""
    return "/v1/chat/completions", asked(stream=i % 3 != 0, m3={"cascade": 0.9}, max_tokens=8)


def batch(i: int) -> tuple[str, Any]:
    return "/v1/answers", {"items": [good(image=image(i)), good(scale=37), good(question="[oom]")]}


def compared(i: int) -> tuple[str, Any]:
    return "/v1/compare", good(image=image(i))


def new_picture(i: int) -> tuple[str, Any]:
    return "/v1/route", good(image=data_uri(picture(f"#{i % 2**24:06x}", (20, 20))))


def wrong(i: int) -> tuple[str, Any]:
    bodies: tuple[Any, ...] = (
        *({}, [], {"image": "?"}, good(question=""), good(scale=True), good(nobody=1)),
        *(good(image=data_uri(PICTURES[0][:40])), good(question="[exception]"), good(question="[nan]")),
    )
    return "/v1/answer", bodies[i % len(bodies)]


KINDS: Sequence[Callable[[int], tuple[str, Any]]] = (
    *(plain, plain, plain, chat, chat, thought_over, batch, compared, new_picture, wrong, wrong),
)


def talk(server: Server, numbers: Any, stop: threading.Event, seen: Counter[int]) -> None:
    """Requests of every kind, one after another."""
    rng = random.Random(next(numbers))
    while not stop.is_set():
        i = next(numbers)
        if i % 40 == 0:
            read(
                server,
                rng.choice(("/metrics", "/v1/quality", "/ready", "/", "/openapi.json", "/nowhere")),
                seen,
            )
        elif i % 40 == 20:
            leave(server, rng)
        else:
            path, body = rng.choice(KINDS)(i)
            read(server, path, seen, json.dumps(body).encode())


def read(server: Server, path: str, seen: Counter[int], body: bytes | None = None) -> None:
    request = urllib.request.Request(server.address + path, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            response.read()
            seen[response.status] += 1
    except urllib.error.HTTPError as error:
        with error:
            error.read()
            seen[error.code] += 1


def leave(server: Server, rng: random.Random) -> None:
    """A client that goes away: in the middle of its body, or before its answer is there."""
    address = urlsplit(server.address)
    body = json.dumps(good()).encode()
    with socket.create_connection((address.hostname, address.port or 80), timeout=30) as client:
        head = f"POST /v1/answer HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-length: {len(body)}\r\n"
        client.sendall(f"{head}content-type: application/json\r\n\r\n".encode())
        client.sendall(body if rng.random() < 0.5 else body[: len(body) // 2])


def grown(samples: Sequence[Sample], of: Callable[[Sample], float]) -> float:
    """The median of the last third over that of the first third of ``samples``."""
    third = max(1, len(samples) // 3)
    return statistics.median(map(of, samples[-third:])) - statistics.median(map(of, samples[:third]))


def test_nothing_grows_after_the_warm_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {
        "M3_WATCH_SHARE": "0.2",
        "M3_WATCH_MIN_AGREEMENT": "0.5",
        "M3_DECISION_LOG": str(tmp_path),
        "M3_IMAGE_CACHE_BYTES": str(2**20),
        "M3_STREAM_BUFFER": "1",
    }.items():
        monkeypatch.setitem(ENVIRONMENT, name, value)
    samples: list[Sample] = []
    seen: Counter[int] = Counter()
    numbers, stop = itertools.count(), threading.Event()
    with serving(("-c", PROGRAM)) as server:
        clients = [
            threading.Thread(target=talk, args=(server, numbers, stop, seen), daemon=True)
            for _ in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        end = time.monotonic() + 60 * MINUTES
        while time.monotonic() < end:
            time.sleep(EVERY_S)
            assert server.process.poll() is None, "".join(server.log)
            samples.append(Sample.of(server.process.pid))
            if len(samples) % 30 == 5:
                server.process.send_signal(signal.SIGHUP)
        stop.set()
        for client in clients:
            client.join(90)
        with urllib.request.urlopen(server.address + "/v1/quality", timeout=30) as response:
            quality = json.load(response)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
    steady = samples[len(samples) // 4 :]
    growth = {
        "memory_mib": round(grown(steady, lambda sample: sample.memory_mib), 2),
        "files": grown(steady, lambda sample: sample.files),
        "threads": grown(steady, lambda sample: sample.threads),
    }
    told = {
        "minutes": MINUTES,
        "responses": {str(status): n for status, n in sorted(seen.items())},
        "watched": quality["watch"]["counts"],
        "first": asdict(steady[0]),
        "last": asdict(steady[-1]),
        "growth": growth,
        "series": [round(sample.memory_mib) for sample in samples[:: max(1, len(samples) // 40)]],
    }
    with capsys.disabled():
        sys.stdout.write(json.dumps(told) + "\n")
    assert seen[200] > 100
    assert set(seen) <= {200, 400, 404, 500, 503}
    assert "Traceback" not in "".join(server.log)
    assert growth["memory_mib"] < MEMORY_MIB
    assert growth["files"] <= 2
    assert growth["threads"] <= 2  # a pool that takes a thread more when many come at once
