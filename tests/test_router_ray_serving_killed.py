"""A replica killed every few seconds under load; skipped where Ray is not installed.

RAY_MINUTES says for how long (`make test-ray`).
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from router.ray_front import ATTEMPT
from tests.chatting import asked
from tests.ray_processes import kill_one
from tests.ray_serving import HUNG_S, REPLICAS, Server, question, right, same, serving, told

pytest.importorskip("ray", reason="the extra [ray] is not installed")

MINUTES = float(os.environ.get("RAY_MINUTES", "2"))
EVERY_S = 5.0
CLIENTS = 8


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
@pytest.mark.filterwarnings("default")
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
