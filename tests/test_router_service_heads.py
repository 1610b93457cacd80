"""HEAD: as GET without a body, and not where there is no GET."""

from __future__ import annotations

import socket

import pytest

from tests.serving import app_of, talking
from tests.test_router_service_process import serving


@pytest.mark.parametrize(
    "path", ["/", "/health", "/ready", "/metrics", "/openapi.json", "/v1/models", "/v1/quality"]
)
def test_a_head_is_answered_as_its_get_without_a_body(path: str) -> None:
    with talking(app_of()) as http:
        got, head = http.get(path), http.run(http.client.head(path))
        counted = http.get("/metrics").text
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert "x-request-id" in head.headers
    assert f'm3_requests_total{{endpoint="{path}",status="200"}} 2.0' in counted or path == "/openapi.json"


def test_what_is_only_posted_has_no_head() -> None:
    with talking(app_of()) as http:
        response = http.run(http.client.head("/v1/answer"))
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


def test_after_a_head_the_connection_is_of_use() -> None:
    with serving() as server:
        port = int(server.address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            for method, last in ((b"HEAD", b"keep-alive"), (b"GET", b"close")):
                connection.sendall(
                    method + b" /health HTTP/1.1\r\nHost: localhost\r\nConnection: " + last + b"\r\n\r\n"
                )
            said = b"".join(iter(lambda: connection.recv(65536), b""))
    assert said.count(b"HTTP/1.1 200") == 2
    assert said.count(b'{"status":"ok"}') == 1
