"""Requests whose end can be read in two ways, and refusals that no app has seen."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
import urllib.request

import pytest

from tests.test_router_service_process import ENVIRONMENT, Server, serving


def said_to(server: Server, request: bytes) -> bytes:
    port = int(server.address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_request_with_two_lengths_is_refused_and_what_follows_it_is_not_read() -> None:
    hidden = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    body = b"0\r\n\r\n" + hidden
    for path in (b"/v1/answer", b"/health"):
        head = b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        both = head + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(body)
        with serving() as server:
            said = said_to(server, both + body)
        assert said.count(b"HTTP/1.1 ") == 1
        assert said.startswith(b"HTTP/1.1 400")
        assert b"connection: close" in said.lower()
        assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]["code"] == "malformed_request"


def test_what_never_became_a_request_is_logged_under_its_id_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "M3_LOG_FORMAT", "json")
    with serving() as server:
        said = said_to(server, b"GET /" + b"xyzzy" * 10_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with urllib.request.urlopen(server.address + "/metrics", timeout=60) as metrics:
            counted = metrics.read().decode()
    found = re.search(rb"x-request-id: (\w+)", said)
    assert found is not None
    lines = [json.loads(line) for line in server.log]
    (line,) = [line for line in lines if line.get("request_id") == found[1].decode()]
    assert (line["logger"], line["status"], line["code"]) == ("m3_router.access", 431, "headers_too_large")
    assert 'm3_errors_total{code="headers_too_large"} 1.0' in counted
    assert "xyzzy" not in "".join(server.log)


def test_a_connection_is_kept_after_an_answer_for_as_long_as_the_operator_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    monkeypatch.setitem(ENVIRONMENT, "M3_KEEP_ALIVE_S", "1")
    with serving() as server:
        said = said_to(server, ask + ask)  # until the server closes it
    assert said.count(b"HTTP/1.1 200") == 2
    assert b"HTTP/1.1 408" not in said
    monkeypatch.setitem(ENVIRONMENT, "M3_KEEP_ALIVE_S", "600")
    with serving() as server:
        connection = http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=60)
        for _ in range(2):
            connection.request("GET", "/health")
            assert connection.getresponse().read() == b'{"status":"ok"}'
            time.sleep(6)  # uvicorn's own patience is 5 s
        connection.close()
