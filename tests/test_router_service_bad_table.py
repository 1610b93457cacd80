"""The table of bad inputs against one app, which serves a good request after each; its bombs' memory."""

from __future__ import annotations

import http.client
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.bad_images import BOMBS
from tests.bad_inputs import TABLE, Bad
from tests.serving import ScriptedRouter, Talk, app_of, data_uri, error_of, good, talking
from tests.test_router_service_process import Server, serving

DOCUMENT = json.loads((Path(__file__).parents[1] / "docs" / "openapi.json").read_text(encoding="utf-8"))
INSIDE = ("Traceback", 'File "', "/home", "/tmp", "/usr", "/work", ".py")

GROWTH_MIB = 16.0
"""Of resident memory, that is none: what the allocator keeps after the bombs differs from time to time."""
PEAK_MIB = 40.0
"""Of one bomb, over what the service takes at rest; each of them would unpack to 50 MB or far more."""


def test_the_table_is_of_more_than_200_inputs_no_two_alike() -> None:
    alike: dict[Any, list[str]] = defaultdict(list)
    for name, bad in TABLE.items():
        alike[bad.method, bad.path, bad.content, tuple(sorted(bad.headers.items()))].append(name)
    assert len(alike) >= 200
    assert [names for names in alike.values() if len(names) > 1] == []


@pytest.fixture(scope="module")
def http_to_one_app() -> Iterator[Talk]:
    with talking(app_of(router=ScriptedRouter())) as talk:
        yield talk


def documented(bad: Bad) -> set[int]:
    """What the committed description has for this address; else that there is none, or not of this method."""
    methods = DOCUMENT["paths"].get(bad.path, {})
    operation = methods.get(bad.method.lower())
    return set(map(int, operation["responses"])) if operation else {404, 405}


@pytest.mark.parametrize("kind", TABLE)
def test_a_bad_input_is_answered_as_described_and_the_next_good_one_is_served(
    kind: str, http_to_one_app: Talk
) -> None:
    bad = TABLE[kind]
    response: httpx.Response = http_to_one_app.request(
        bad.method, bad.path, content=bad.content, headers=[(k.encode(), v) for k, v in bad.headers.items()]
    )
    assert response.status_code in bad.statuses, response.text
    assert response.status_code in documented(bad)
    assert response.headers["x-request-id"]
    assert not [leak for leak in INSIDE if leak in response.text]
    if response.status_code >= 400:
        error = error_of(response)
        assert bad.code is None or error["code"] == bad.code
        assert len(response.content) < 1500
    elif kind.startswith("text"):
        assert response.json()["visual_tokens"] == 36  # no words of a client's make a slot for an image
    assert http_to_one_app.answer().status_code == 200


def _send(server: Server, bad: Bad) -> tuple[int, bytes]:
    """As it is, over a socket."""
    address = urlsplit(server.address)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    try:
        connection.putrequest(bad.method, bad.path, skip_host="host" in bad.headers)
        for name, value in {**bad.headers, "content-length": str(len(bad.content)).encode()}.items():
            connection.putheader(name, value)
        connection.endheaders(bad.content)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _memory_mib(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) / 1024


def _forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")  # proc(5): resets VmHWM


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="there is no /proc")
def test_a_server_takes_the_whole_table_and_its_memory_stays_flat_after_every_bomb() -> None:
    bombs = {
        name: Bad("/v1/answer", json.dumps(good(image=data_uri(data))).encode(), (200, 400))
        for name, data in BOMBS.items()
    }
    peaks: dict[str, float] = {}
    with serving() as server:
        pid = server.process.pid
        for bad in (*TABLE.values(), *bombs.values()):  # all of it once: what is imported late is there then
            status, body = _send(server, bad)
            assert status in (*bad.statuses, 400, 431), body  # 431: a header that a socket does not take
            assert not [leak for leak in INSIDE if leak.encode() in body]
        before = _memory_mib(pid, "VmRSS")
        for name, bad in bombs.items():
            _forget_peak(pid)
            for _ in range(3):
                assert _send(server, bad)[0] in bad.statuses
            peaks[name] = _memory_mib(pid, "VmHWM") - before
            status, body = _send(server, Bad("/v1/answer", json.dumps(good()).encode()))
            assert status == 200, body
        after = _memory_mib(pid, "VmRSS")
        assert server.process.poll() is None
        log = "".join(server.log)
    assert "Traceback" not in log
    assert max(peaks.values()) < PEAK_MIB, peaks
    assert after - before < GROWTH_MIB, (before, after, peaks)
