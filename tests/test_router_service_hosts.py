"""The header Host: whom a request may say that it addresses."""

from __future__ import annotations

import pytest

from router.service.hosts import is_loopback, parse_hosts
from tests.serving import app_of, error_of, good, settings, talking

LOCAL = "localhost,127.0.0.1,[::1]"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:80", "[::1]:8000"])
def test_the_names_that_are_allowed_are_served_with_any_port(host: str) -> None:
    with talking(app_of(config=settings(allowed_hosts=LOCAL))) as http:
        assert http.post("/v1/answer", json=good(), headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8000", "127.0.0.2", "[::2]"]
)
def test_another_name_is_a_400_for_the_page_too(host: str) -> None:
    with talking(app_of(config=settings(allowed_hosts=LOCAL))) as http:
        for path in ("/", "/health", "/v1/answer"):
            response = http.get(path, headers={"host": host})
            assert response.status_code == 400
            assert error_of(response)["code"] == "invalid_host"
            assert host not in response.text


@pytest.mark.parametrize(
    "host", [b"", b" ", b"a b", b"a/b", b"a@b", b"a:99999999", b"\xff", b"x" * 300, b"[::1"]
)
def test_a_host_that_is_none_is_a_400_whatever_is_allowed(host: bytes) -> None:
    with talking(app_of()) as http:
        response = http.get("/health", headers={b"host": host})
        twice = http.get("/health", headers=[(b"host", b"a"), (b"host", b"b")])
        assert http.answer().status_code == 200
    assert (response.status_code, twice.status_code) == (400, 400)
    assert error_of(response)["code"] == error_of(twice)["code"] == "invalid_host"


def test_a_star_allows_every_name() -> None:
    assert parse_hosts("a.example, *") is None
    assert parse_hosts(" A.example ,b:1,") == frozenset({"a.example", "b:1"})


def test_loopback_addresses_are_known() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "", "10.0.0.1", "example.org"))
