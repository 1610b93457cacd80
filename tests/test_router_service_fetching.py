"""Images by address: off unless hosts are named, and nothing is asked that was not checked."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from router.errors import InvalidImage
from router.service.fetching import is_public
from tests.fetching import HOST, PNG, URL, fetcher, host, reply


def fetched(answer: bytes, *, stays: bool = False, **more: Any) -> bytes:
    async def run() -> bytes:
        async with host(answer, stays=stays) as (port, _):
            return await fetcher(port, **more).image(URL).read()

    return asyncio.run(run())


def failure(answer: bytes, **more: Any) -> str:
    """The code of the error."""
    with pytest.raises(InvalidImage) as caught:
        fetched(answer, **more)
    assert "127.0.0.1" not in caught.value.message
    return str(caught.value.code)


def test_an_image_is_fetched_from_a_host_on_the_list_with_a_plain_request() -> None:
    async def run() -> tuple[bytes, list[bytes]]:
        async with host(reply()) as (port, heads):
            return await fetcher(port).image(URL).read(), heads

    data, (head,) = asyncio.run(run())
    assert data == PNG
    assert head.startswith(b"GET /a/b.png?size=3 HTTP/1.1\r\n")
    assert b"host: pictures.example\r\n" in head.lower()
    for unwanted in (b"cookie", b"authorization", b"referer"):
        assert unwanted not in head.lower()


@pytest.mark.parametrize(
    "address",
    [
        "http://other.example/a.png",
        "http://sub.pictures.example/a.png",
        "http://pictures.example.evil.example/a.png",
        "http://pictures.example./a.png",
        "http://pictures.example:8080/a.png",
        "https://pictures.example:80/a.png",
        "http://pictures.example:99999/a.png",
        "http://user:secret@pictures.example/a.png",
        "http://pictures.example@127.0.0.1/a.png",
        "http://127.0.0.1/a.png",
        "http://[::1]/a.png",
        "http://[::ffff:127.0.0.1]/a.png",
        "http://[pictures.example/a.png",
        "http://2130706433/",
        "http://0x7f.1/",
        "http:///a.png",
        "http://pictures.example\\@127.0.0.1/a.png",
        "http://pictures.example/a b.png",
        "http://pictures.example/\r\nHost: a",
        "http://pictures.exampl\u00e9/a.png",
        f"http://{HOST}/" + "a" * 3000,
    ],
)
def test_any_other_address_is_refused_and_nobody_is_asked(address: str) -> None:
    def never(name: str) -> list[str]:
        raise AssertionError("resolved")

    with pytest.raises(InvalidImage) as caught:
        fetcher(names=never).image(address)
    assert caught.value.code == "image_url_refused"
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "addresses",
    [
        ["10.0.0.1"],
        ["127.0.0.1"],
        ["169.254.169.254"],
        ["192.168.1.1"],
        ["100.64.0.1"],
        ["0.0.0.0"],
        ["224.0.0.1"],
        ["::1"],
        ["fe80::1%eth0"],
        ["fd00::1"],
        ["fec0::1"],
        ["::ffff:93.184.216.34"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::"],
        ["93.184.216.34", "10.0.0.1"],
        [],
    ],
)
def test_a_name_of_an_address_that_is_not_public_is_refused_and_no_socket_is_opened(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*args: Any, **more: Any) -> Any:
        raise AssertionError("opened")

    monkeypatch.setattr("router.service.fetching.asyncio.open_connection", never)
    with pytest.raises(InvalidImage) as caught:
        asyncio.run(fetcher(names=lambda name: addresses, allowed=None).image(URL).read())
    assert caught.value.code == "image_url_refused"


def test_public_addresses_are_public() -> None:
    assert is_public("93.184.216.34")
    assert is_public("2606:2800:220:1::1")


def test_a_name_is_resolved_once_and_the_connection_is_to_what_was_checked() -> None:
    answers = [["127.0.0.1"], ["10.0.0.1"]]
    checked: list[str] = []

    def allowed(address: str) -> bool:
        checked.append(address)
        return address == "127.0.0.1"

    async def run() -> bytes:
        async with host(reply()) as (port, _):
            return await fetcher(port, names=lambda name: answers.pop(0), allowed=allowed).image(URL).read()

    assert asyncio.run(run()) == PNG
    assert checked == ["127.0.0.1"]
    assert answers == [["10.0.0.1"]]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "304 Not Modified"])
def test_a_redirect_is_not_followed(status: str) -> None:
    assert failure(reply(b"", status, "location: http://169.254.169.254/\r\n")) == "image_fetch_failed"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (reply(b"", "404 Not Found"), "image_fetch_failed"),
        (reply(b"", "500 Oops"), "image_fetch_failed"),
        (reply(b"x" * 10_001), "image_too_large"),
        (reply(b"", length=10**15), "image_too_large"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10_001, "image_too_large"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2711\r\n" + b"x" * 10_001, "image_too_large"),
        (reply(headers="content-encoding: gzip\r\n"), "image_fetch_failed"),
        (reply(length=10_000), "image_fetch_failed"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 10_000 + b"\r\n", "image_fetch_failed"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n", "image_fetch_failed"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "image_fetch_failed"),
        (b"", "image_fetch_failed"),
    ],
)
def test_an_answer_that_is_no_image_of_a_fair_size_is_refused(answer: bytes, code: str) -> None:
    assert failure(answer) == code


def test_a_chunked_answer_and_one_that_ends_with_the_connection_are_read() -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(PNG), PNG)
    assert fetched(chunked) == PNG
    assert fetched(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.0 200 OK\r\n\r\n" + PNG) == PNG


def test_a_host_that_trickles_is_given_up() -> None:
    assert failure(reply(length=10_000), stays=True, timeout_s=0.3) == "image_fetch_failed"


def test_tiny_chunks_leave_others_their_turns() -> None:
    class Writer:
        def write(self, data: bytes) -> None: ...

        async def drain(self) -> None: ...

    async def run() -> int:
        chunks = b"1\r\nx\r\n" * 10_000
        reader, turns = asyncio.StreamReader(), 0
        reader.feed_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        taking = fetcher(max_bytes=10_000)
        work = asyncio.create_task(taking._exchange(taking.image(URL), reader, cast(Any, Writer())))
        while not work.done():
            await asyncio.sleep(0)
            turns += 1
        assert len(await work) == 10_000
        return turns

    assert asyncio.run(run()) >= 4


def test_a_host_that_is_not_there_or_has_no_name_is_an_error() -> None:
    def unknown(name: str) -> list[str]:
        raise OSError("no such name")

    for each in (fetcher(1), fetcher(names=unknown)):
        with pytest.raises(InvalidImage) as caught:
            asyncio.run(each.image(URL).read())
        assert caught.value.code == "image_fetch_failed"
