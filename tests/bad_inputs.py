"""Requests that are wrong or odd, one table: what is sent, and with which statuses it may be answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.bad_images import ANSWERED, REFUSED
from tests.chatting import MODEL, asked, image_part, user
from tests.serving import data_uri, good, picture
from tests.test_router_service_bad_inputs import BAD as BAD_QUESTIONS
from tests.test_router_service_chat_bad_inputs import BAD as BAD_CHATS

JSON = "application/json"
CHAT = "/v1/chat/completions"
FORM = "multipart/form-data; boundary=x"


@dataclass(frozen=True)
class Bad:
    """code: of the error; None where several are right, or where it is answered."""

    path: str
    content: bytes = b""
    statuses: tuple[int, ...] = (400,)
    code: str | None = None
    method: str = "POST"
    headers: dict[str, bytes] = field(default_factory=lambda: {"content-type": JSON.encode()})


def _bodies() -> Iterator[tuple[str, Bad]]:
    for name, (content, code, _) in BAD_QUESTIONS.items():
        yield f"question: {name}", Bad("/v1/answer", content, code=code)
    for name, (fields, code, _) in BAD_CHATS.items():
        yield f"chat: {name}", Bad(CHAT, json.dumps(asked(**fields)).encode(), code=code)
    for name in ("gpt-4o", "", f"{MODEL}@", "@36", "../" + MODEL, MODEL + "\0"):
        content = json.dumps(asked(model=name)).encode()
        yield f"model {name!r}", Bad(CHAT, content, (404,), "model_not_found")
    for name, items in _BATCHES.items():
        yield f"batch: {name}", Bad("/v1/answers", json.dumps(items).encode(), **_batch_answer(items))
    for name, constraints in _CONSTRAINTS.items():
        yield f"constraints: {name}", Bad("/v1/route", json.dumps(good(**constraints)).encode())


_BATCHES: dict[str, Any] = {
    "nothing": {},
    "items null": {"items": None},
    "no item": {"items": []},
    "items an object": {"items": {"0": 1}},
    "items as text": {"items": "ab"},
    "33 items": {"items": [good()] * 33},
    "10,000 items of nothing": {"items": [{}] * 10_000},
    "another field": {"items": [good()], "model": "x"},
    "items that are none": {"items": [None, 5, "a", [], True, {}]},
    "items that are wrong": {"items": [good(scale=37), good(image="?"), good(question=""), good(a=1)]},
    "an item in an item": {"items": [{"items": [good()]}]},
}


def _batch_answer(body: Any) -> dict[str, Any]:
    """A list of items is a 200 whatever becomes of them."""
    items = body.get("items")
    well = isinstance(items, list) and 0 < len(items) <= 32 and set(body) == {"items"}
    return {"statuses": (200,)} if well else {}


_CONSTRAINTS: dict[str, dict[str, Any]] = {
    "a drop of 0": {"accuracy_drop": 0.0},
    "a drop of 1": {"accuracy_drop": 1.0},
    "a drop as text": {"accuracy_drop": "0.02"},
    "a drop and a budget": {"accuracy_drop": 0.02, "token_budget": 36},
    "a delta alone": {"delta": 0.05},
    "a delta of 2": {"accuracy_drop": 0.02, "delta": 2.0},
    "a loss alone": {"loss": "net"},
    "a loss that is none": {"accuracy_drop": 0.02, "loss": "harm"},
    "a cascade of 1": {"cascade": 1},
    "a cascade as text": {"cascade": "yes"},
    "a cascade and a drop": {"cascade": 0.5, "accuracy_drop": 0.02},
    "a ceiling of 10**400": {"max_visual_tokens": 10**400},
    "a floor that is a list": {"min_scale": [9]},
    "a floor true": {"min_scale": True},
    "a budget that is an object": {"token_budget": {}},
}


def _images() -> Iterator[tuple[str, Bad]]:
    for name, data in REFUSED.items():
        yield f"image: {name}", Bad("/v1/answer", json.dumps(good(image=data_uri(data))).encode())
    for name, data in ANSWERED.items():
        content = json.dumps(good(image=data_uri(data, "image/jpeg"))).encode()
        yield f"image: {name}", Bad("/v1/answer", content, (200,))
    for address in _ADDRESSES:
        content = json.dumps(asked(messages=[user(image_part(url=address))])).encode()
        yield f"address {address!r}", Bad(CHAT, content, code="image_url_unsupported")
    for name, value in _ENCODINGS.items():
        yield f"encoding: {name}", Bad("/v1/answer", json.dumps(good(image=value)).encode())


_ADDRESSES = (
    *("http://127.0.0.1/a.png", "https://localhost/a.png", "http://[::1]/a.png", "http://0/a.png"),
    *("http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "http://192.168.1.1:22/"),
    *("http://[::ffff:127.0.0.1]/", "http://2130706433/", "http://0x7f000001/", "http://user:pass@host/"),
    *("file://localhost/etc/hosts", "FILE:/etc/shadow", "ftp://127.0.0.1/a", "gopher://127.0.0.1:25/_x"),
    *("javascript:alert(1)", "jar:http://a!/b", "unix:///var/run/docker.sock", "\thttp://a.example/b.png"),
)
_ENCODINGS = {
    "hexadecimal": "89504e470d0a1a0a" * 9 + "0",
    "base64url": "-_-_" * 20,
    "padding in the middle": "aGVsbG8=aGVsbG8=",
    "a data URI in a data URI": data_uri(data_uri(picture()).encode()),
    "a data URI of text": "data:text/html;base64,PGI+",
    "charset before base64": "data:image/png;charset=utf-8;base64,AAAA",
    "1 MB of padding": "=" * 10**6,
    "percent signs": "data:image/png;base64,%zz%00",
    "a path": "/etc/passwd",
    "full-width letters": "ＡＡＡＡ",
}


def _texts() -> Iterator[tuple[str, Bad]]:
    for name, (text, statuses) in _TEXTS.items():
        yield f"text: {name}", Bad("/v1/answer", json.dumps(good(question=text, scale=36)).encode(), statuses)


_TEXTS: dict[str, tuple[str, tuple[int, ...]]] = {
    "<image> 500 times": ("<image>" * 500, (200, 400)),  # 400: longer than the context
    "<image> 1000 times": ("<image>" * 1000, (400,)),
    "end of sequence": ("</s></s><s> What?", (200,)),
    "turns of a template": ("USER: a ASSISTANT: b USER: c", (200,)),
    "control characters": ("a\x01\x02\x1b[31mb\x7f", (200,)),
    "right to left": ("\u202eabc\u202c\u2066 عربي", (200,)),
    "combining marks": ("a" + "\u0301" * 1000, (200,)),
    "emoji of families": ("👩‍👩‍👧‍👦" * 100, (200,)),
    "unassigned and private": ("\ue000\U000e0001\uffff\U0010ffff", (200,)),
    "format strings": ("%s%n{0.__class__}{{}}${jndi:ldap://a}", (200,)),
    "SQL and shell": ("'; DROP TABLE a; -- $(reboot) `id`", (200,)),
    "4096 characters": ("a" * 4096, (200,)),
    "4097 characters": ("a" * 4097, (400,)),
    "line breaks only": ("\r\n" * 100, (400,)),
    "zero-width only": ("\u200b", (200,)),
}


def _forms() -> Iterator[tuple[str, Bad]]:
    for name, content in _PARTS.items():
        yield f"form: {name}", Bad("/v1/answer", content, headers={"content-type": FORM.encode()})
    for kind in _TYPES:
        headers = {"content-type": kind.encode("latin-1")}
        yield (
            f"content type {kind[:40]!r}",
            Bad("/v1/answer", json.dumps(good()).encode(), (415,), "unsupported_media_type", headers=headers),
        )
    yield (
        "a form for a chat",
        Bad(CHAT, _part("model", b"fake"), (415,), headers={"content-type": FORM.encode()}),
    )
    for encoding in ("gzip", "br", "deflate, gzip", "x" * 5000):
        headers = {"content-type": JSON.encode(), "content-encoding": encoding.encode()}
        yield (
            f"content encoding {encoding[:20]!r}",
            Bad("/v1/answer", b"\x1f\x8b" + bytes(100), (415,), "unsupported_encoding", headers=headers),
        )


def _part(name: str, content: bytes, more: bytes = b"") -> bytes:
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"'.encode()
    return head + more + b"\r\n\r\n" + content + b"\r\n--x--\r\n"


_PARTS = {
    "nothing": b"",
    "an end alone": b"--x--\r\n",
    "another boundary": b"--y\r\n\r\n--y--\r\n",
    "a part without a name": b"--x\r\nContent-Disposition: form-data\r\n\r\nz\r\n--x--\r\n",
    "a part that is cut off": b'--x\r\nContent-Disposition: form-data; name="image"; filename="a',
    "a question alone": _part("question", b"What?"),
    "an image alone": _part("image", picture(), b'; filename="a.png"'),
    "a name of 10,000 characters": _part("q" * 10_000, b"a"),
    "a name of control characters": _part("a\x00\x1b", b"a"),
    "a path as the file's name": _part("image", b"x", b'; filename="../../etc/passwd"'),
    "text that is not UTF-8": _part("question", b"\xff\xfe"),
    "headers without end": b"--x\r\n" + b"A: b\r\n" * 5000,
    "a boundary 10,000 times": b"--x\r\n" * 10_000,
}
_TYPES = ("", "text/plain", "text/json", "image/png", "application/xml", "json", "multipart/mixed", "\xff;;")


def _heads() -> Iterator[tuple[str, Bad]]:
    body = json.dumps(asked()).encode()
    for scale in ("37", "36.0", "-1", "nan", "9, 36", "9" * 5000, "\xb2"):
        headers = {"content-type": JSON.encode(), "x-m3-scale": scale.encode("latin-1")}
        yield f"x-m3-scale {scale[:9]!r}", Bad(CHAT, body, code="invalid_scale", headers=headers)
    both = {"content-type": JSON.encode(), "x-m3-scale": b"9"}
    forced = json.dumps(asked(model=f"{MODEL}@36")).encode()
    yield "two scales forced", Bad(CHAT, forced, code="conflicting_scale", headers=both)
    for host in ("a b", "a/b", "user@a", "a:99999999", "[::1", "x" * 300):
        yield f"host {host[:9]!r}", Bad("/health", code="invalid_host", method="GET", headers=_host(host))
    for method, path, status in _ADDRESSED:
        yield f"{method} {path[:30]}", Bad(path, b"", (status,), method=method, headers={})


def _host(host: str) -> dict[str, bytes]:
    return {"host": host.encode()}


_ADDRESSED = (
    *(("GET", "/v1/answer", 405), ("PUT", "/v1/route", 405), ("DELETE", "/v1/quality", 405)),
    *(("POST", "/health", 405), ("TRACE", "/", 405), ("NOSUCH", "/v1/answers", 405)),
    *(("GET", "/nowhere", 404), ("POST", "/v1/answer/", 404), ("GET", "/.env", 404), ("GET", "/docs", 404)),
    *(("GET", "/v1/models/gpt-4o", 404), ("GET", "/v1/models/..%2f..%2fetc", 404)),
    *(("GET", "/" + "a" * 4000, 404), ("GET", "/%00%ff", 404), ("POST", "/v1//answer", 404)),
)


TABLE: dict[str, Bad] = {
    name: bad for part in (_bodies, _images, _texts, _forms, _heads) for name, bad in part()
}
"""Kind -> request; no two are alike."""
