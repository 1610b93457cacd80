"""A real socket: heads that are too large, that trickle, or that are no HTTP; the next request is served."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import uvicorn

from router.service.protocol import HEAD_BYTES, Protocol
from tests.serving import app_of, good

QUESTION = json.dumps(good()).encode()


class Impatient(Protocol):
    head_timeout_s = 1.0
    stuck_timeout_s = 2.0


@contextmanager
def listening() -> Iterator[int]:
    """The port of a server in a thread of this process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app_of(),
            http=Impatient,
            ws="none",
            h11_max_incomplete_event_size=HEAD_BYTES,
            log_config=None,
            access_log=False,
            lifespan="on",
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(30)


def ask(connection: socket.socket) -> int:
    """Asks a question, reads the whole answer, and leaves the connection open."""
    body = QUESTION
    head = b"POST /v1/answer HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return status_of(connection)


def status_of(connection: socket.socket) -> int:
    """Reads one whole answer."""
    with connection.makefile("rb") as reader:
        status = int(reader.readline().split()[1])
        headers = dict(line.split(b": ", 1) for line in iter(reader.readline, b"\r\n"))
        assert len(reader.read(int(headers[b"content-length"]))) > 100
    return status


def everything(connection: socket.socket) -> bytes:
    connection.settimeout(60)  # of a connection that is not closed
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:  # what was sent after the refusal was not read
        pass
    return b"".join(parts)


def status_and_code(response: bytes) -> tuple[int, str]:
    head, _, body = response.partition(b"\r\n\r\n")
    assert b"x-request-id: " in head
    assert b"connection: close" in head.lower()
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return int(head.split()[1]), error["code"]


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 10_000 + b"\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"b" * 50_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET /" + b"a" * 50_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431, "headers_too_large"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400, "malformed_request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "malformed_request"),  # no Host
        (b"POST /v1/answer HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", 400, "malformed_request"),
    ],
)
def test_a_head_that_is_none_is_refused_in_the_one_shape(head: bytes, status: int, code: str) -> None:
    with listening() as port:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(head)
            assert status_and_code(everything(connection)) == (status, code)
        with socket.create_connection(("127.0.0.1", port)) as connection:
            assert ask(connection) == 200


def test_headers_that_trickle_are_closed_within_the_deadline_also_on_a_connection_that_was_used() -> None:
    with listening() as port:
        for used in (False, True):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                if used:
                    assert ask(connection) == 200
                connection.sendall(b"GET /health HTTP/1.1\r\n")
                assert status_and_code(everything(connection)) == (408, "head_timeout")


def test_a_connection_on_which_nothing_is_asked_is_closed_and_one_that_waits_for_its_answer_is_not() -> None:
    with listening() as port:
        with socket.create_connection(("127.0.0.1", port)) as silent:
            assert everything(silent) == b""
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(
                b"POST /v1/answer HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                b"Connection: close\r\nContent-Length: 2\r\n\r\n{"
            )
            time.sleep(1.5)  # the head was in time; the body has a deadline of its own
            connection.sendall(b"}")
            assert everything(connection).startswith(b"HTTP/1.1 400")


def test_the_rest_of_a_body_that_nobody_reads_is_waited_for_no_longer_than_headers_are() -> None:
    head = b"POST /nothing HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with listening() as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head)
        sent = 0
        with suppress(ConnectionError):  # it was closed
            while sent < 100:
                connection.sendall(b"1\r\na\r\n")
                sent += 1
                time.sleep(0.2)
        assert sent < 100
    with listening() as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head + b"1\r\na\r\n")
        assert status_of(connection) == 404
        connection.sendall(b"0\r\n\r\n")  # in time: the connection is of use
        assert ask(connection) == 200


def test_a_client_that_reads_nothing_gives_its_place_back() -> None:
    def in_flight(port: int) -> int:
        with socket.create_connection(("127.0.0.1", port)) as other:
            other.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            (line,) = [x for x in everything(other).splitlines() if x.startswith(b"m3_requests_in_flight ")]
        return round(float(line.split()[1]))

    def stays(port: int, wanted: int) -> bool:
        seen = 0
        for _ in range(300):
            seen = seen + 1 if in_flight(port) == wanted else 0
            if seen == 5:
                return True
            time.sleep(0.1)
        return False

    with listening() as port, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.connect(("127.0.0.1", port))
        deaf.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 200)
        assert stays(port, 2)  # its own, and the one that asks
        assert stays(port, 1)
