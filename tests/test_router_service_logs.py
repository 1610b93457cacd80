"""Log lines: every one names its request, as text and as JSON."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from PIL import Image

from router.service.logs import REQUEST_ID, JsonLines, TextLines
from tests.serving import ScriptedRouter, Talk, app_of, data_uri, good, picture, talking
from tests.test_router_service_process import ENVIRONMENT, serving


@contextmanager
def logged(formatter: logging.Formatter) -> Iterator[io.StringIO]:
    """What ``m3_router`` logs, formatted when it is."""
    told, logger = io.StringIO(), logging.getLogger("m3_router")
    handler = logging.StreamHandler(told)
    handler.setFormatter(formatter)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield told
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def broken() -> None:
    raise RuntimeError("xyzzy")


async def two(http: Talk) -> list[Any]:
    """Two requests at once, about different pictures, that both make a router fail."""
    return await asyncio.gather(
        *(
            http.client.post(
                "/v1/answer", files={"image": picture(colour)}, data={"question": "a"}, headers=named(colour)
            )
            for colour in ("red", "blue")
        )
    )


def named(request_id: str) -> dict[str, str]:
    return {"x-request-id": request_id}


def test_a_line_of_json_has_the_facts_of_a_request_as_fields() -> None:
    with logged(JsonLines()) as told, talking(app_of()) as http:
        http.post("/v1/answer?secret=xyzzy", json=good(), headers=named("first"))
        http.post("/v1/answer", json=good(question="xyzzy", scale=37), headers=named("second"))
    first, second = map(json.loads, told.getvalue().splitlines())
    assert first.pop("ms") > 0
    assert first.pop("time").endswith("+00:00")
    assert first.pop("message").startswith("first POST /v1/answer 200 ")
    assert first == {
        "level": "info",
        "logger": "m3_router.access",
        "request_id": "first",
        "method": "POST",
        "endpoint": "/v1/answer",
        "status": 200,
    }
    assert (second["request_id"], second["status"], second["code"]) == ("second", 400, "invalid_scale")
    assert "xyzzy" not in told.getvalue()


def test_whatever_is_logged_of_a_request_names_it_also_when_there_are_several_at_once() -> None:
    with logged(JsonLines()) as told, talking(app_of(router=ScriptedRouter(before=broken))) as http:
        http.run(two(http))
    lines = [json.loads(line) for line in told.getvalue().splitlines()]
    failed = sorted(line["request_id"] for line in lines if "The router failed" in line["message"])
    assert failed == ["blue", "red"]
    assert REQUEST_ID.get() == ""


def test_text_names_the_request_once() -> None:
    with logged(TextLines()) as told, talking(app_of(router=ScriptedRouter(before=broken))) as http:
        http.post("/v1/answer", json=good(), headers=named("find-me"))
        logging.getLogger("m3_router").info("of no request")
    failed, access, other = told.getvalue().splitlines()
    assert failed.endswith(
        "WARNING m3_router The router failed with RuntimeError; answering at the full scale. [find-me]"
    )
    assert access.count("find-me") == 1
    assert other.endswith("INFO m3_router of no request")


def test_a_traceback_is_one_field() -> None:
    try:
        broken()
    except RuntimeError as error:
        record = logging.makeLogRecord(
            {"msg": "broke", "exc_info": (type(error), error, error.__traceback__)}
        )
    line = json.loads(JsonLines().format(record))
    assert "in broken" in line["traceback"]
    assert "request_id" not in line


def test_a_real_server_writes_nothing_but_lines_of_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "M3_LOG_FORMAT", "json")
    with serving() as server:
        server.post("/v1/answer", json.dumps(good()).encode(), **named("find-me"))
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(30)
    lines = [json.loads(line) for line in server.log]
    assert {"uvicorn.error", "m3_router", "m3_router.access"} <= {line["logger"] for line in lines}
    assert [line["status"] for line in lines if line.get("request_id") == "find-me"] == [200]


def test_at_debug_level_libraries_do_not_quote_a_pictures_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x013B] = "xyzzy-artist"
    Image.new("RGB", (8, 8)).save(file, format="JPEG", exif=exif)
    monkeypatch.setitem(ENVIRONMENT, "M3_LOG_LEVEL", "debug")
    with serving() as server:
        status, _ = server.post("/v1/answer", json.dumps(good(image=data_uri(file.getvalue()))).encode())
    assert status == 200
    assert "xyzzy" not in "".join(server.log)


def test_requests_to_a_vllm_elsewhere_are_no_lines() -> None:
    program = (
        "import logging; from router.service.logs import set_up; set_up('info', 'text'); "
        "logging.getLogger('httpx').info('HTTP Request'); logging.getLogger('m3_router').info('ours')"
    )
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stderr
    assert "ours" in said
    assert "HTTP Request" not in said
