"""Images by address: off unless the operator names hosts, and then as little as it takes.

A client that may name an address makes the service ask in its place (server-side request forgery). So: names
on a list alone, HTTP and HTTPS on their own ports, no credentials, no redirects; the name is resolved once,
all of its addresses must be public, and the connection is to the address that was checked, whatever the name
resolves to by then. Size and time are limited, and what comes is an image like any other.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit

import h11

from router.errors import InvalidImage
from router.image_hosts import NAME

LONGEST = 2048
"""Characters of an address."""

_HEAD_BYTES = 16 * 1024
_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""(name, port) -> addresses."""


@dataclass(frozen=True, slots=True)
class RemoteImage:
    """An image that is fetched when it is read. Its address was checked, and nothing was opened yet."""

    scheme: str
    host: str
    target: str
    fetcher: Fetcher

    async def read(self) -> bytes:
        """The file. Raises `InvalidImage`."""
        return await self.fetcher.fetch(self)


@dataclass(frozen=True)
class Fetcher:
    """Fetches from ``hosts`` (names in lower case), at most ``max_bytes`` in ``timeout_s`` for everything.

    resolve, allowed, ports: what a test replaces, to fetch from its own machine.
    """

    hosts: frozenset[str]
    max_bytes: int
    timeout_s: float
    resolve: Resolve | None = None
    allowed: Callable[[str], bool] | None = None
    ports: tuple[tuple[str, int], ...] = tuple(_PORTS.items())

    def image(self, address: str) -> RemoteImage:
        """``address``, checked as far as it goes without asking anybody. Raises `InvalidImage`."""
        parts = _split(address)
        host = parts.hostname or ""
        if parts.username is not None or parts.password is not None or not NAME.fullmatch(host):
            raise _refused("is no plain address of a host")
        if port := _port(parts):
            raise _refused(f"names the port {port}")
        if host not in self.hosts:
            raise _refused("is not of a host that images are fetched from")
        query = f"?{parts.query}" if parts.query else ""
        target = quote((parts.path or "/") + query, safe="%/:=&?~+!$,;'@()*")
        return RemoteImage(parts.scheme, host, target, self)

    async def fetch(self, image: RemoteImage) -> bytes:
        """The file at that address. Raises `InvalidImage`."""
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self._fetch(image)
        except TimeoutError:
            raise _failed(f"it took more than {self.timeout_s:g} s") from None
        except (OSError, UnicodeError, h11.RemoteProtocolError):  # ssl.SSLError is an OSError
            raise _failed("its host cannot be reached, or does not speak HTTP") from None

    async def _fetch(self, image: RemoteImage) -> bytes:
        port = dict(self.ports)[image.scheme]
        addresses = await (self.resolve or _resolve)(image.host, port)
        allowed = self.allowed or is_public
        if not addresses or not all(map(allowed, addresses)):
            raise _refused("is not of a public host")
        secure = image.scheme == "https"
        reader, writer = await asyncio.open_connection(
            addresses[0],  # the one that was checked: the name is not resolved again
            port,
            ssl=ssl.create_default_context() if secure else None,
            server_hostname=image.host if secure else None,
            limit=2**16,
        )
        try:
            return await self._exchange(image, reader, writer)
        finally:
            writer.transport.abort()

    async def _exchange(
        self, image: RemoteImage, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
        request = h11.Request(
            method="GET",
            target=image.target,
            headers=[
                ("host", image.host),
                ("accept", "image/jpeg, image/png, image/webp, image/gif"),
                ("accept-encoding", "identity"),
                ("user-agent", "m3-router"),
                ("connection", "close"),
            ],
        )
        writer.write((wire.send(request) or b"") + (wire.send(h11.EndOfMessage()) or b""))
        await writer.drain()
        content = bytearray()
        while True:
            event = wire.next_event()
            if event is h11.NEED_DATA:
                wire.receive_data(await reader.read(_HEAD_BYTES))  # not more: h11 limits incomplete heads
                await asyncio.sleep(0)  # what is buffered is read without waiting, and may be tiny chunks
            elif isinstance(event, h11.Response):
                self._check(event)
            elif isinstance(event, h11.Data):
                content += event.data
                if len(content) > self.max_bytes:
                    raise _too_large(self.max_bytes)
            elif isinstance(event, h11.EndOfMessage):
                return bytes(content)
            elif not isinstance(event, h11.InformationalResponse):
                raise _failed("its host closed the connection")

    def _check(self, response: h11.Response) -> None:
        headers = dict(response.headers)
        if response.status_code != 200:
            what = "a redirect, which is not followed" if 300 <= response.status_code < 400 else "no image"
            raise _failed(f"its host answered with {what} (status {response.status_code})")
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise _failed("it is compressed")
        length = headers.get(b"content-length", b"0")
        if int(length[:20]) > self.max_bytes:  # h11 has checked that it is a number
            raise _too_large(self.max_bytes)


def is_public(address: str) -> bool:
    """Whether an IP address is one that everybody reaches; not one that stands for another that is not."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = (ip.ipv4_mapped, ip.sixtofour, ip.teredo)
        if ip in _NAT64 or ip.is_site_local or any(each is not None for each in inner):
            return False  # nobody serves pictures there
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


async def _resolve(name: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(
        name, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )
    return [str(entry[4][0]) for entry in found]


def _split(address: str) -> SplitResult:
    if len(address) > LONGEST:
        raise _refused(f"has more than {LONGEST} characters")
    if not address.isprintable() or " " in address or "\\" in address:
        raise _refused("holds a character that no address has")
    try:
        return urlsplit(address)
    except ValueError:
        raise _refused("cannot be read") from None


def _port(parts: SplitResult) -> int | None:
    """One that is not the scheme's own."""
    try:
        port = parts.port
    except ValueError:
        raise _refused("cannot be read") from None
    return None if port in (None, _PORTS[parts.scheme]) else port


def _refused(why: str) -> InvalidImage:
    return InvalidImage(f"The image's address {why}. Send its bytes instead.", code="image_url_refused")


def _failed(why: str) -> InvalidImage:
    return InvalidImage(f"The image could not be fetched: {why}.", code="image_fetch_failed")


def _too_large(most: int) -> InvalidImage:
    return InvalidImage(
        f"The image has more than {most} bytes, the most that is fetched.", code="image_too_large"
    )
