"""An app on the fake engine, spoken to without a network, and routers by script."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import httpx
from fastapi import FastAPI
from PIL import Image

from m3_backbone.fake import FakeEngine
from m3_backbone.types import Engine, RouteInputs
from router.certificates import NOTHING, Certificates
from router.policy import Constraints, Decision, Prices, decide
from router.predictor import Predictions
from router.service.app import create_app
from router.service.deciding import Routes
from router.settings import Settings

PRICES = Prices(default=0.001, prices=(0.0, 0.001, 1.0), mean_tokens=(576.0, 40.0, 1.0))


def picture(
    colour: str = "red", size: tuple[int, int] = (32, 24), mode: str = "RGB", format: str = "PNG"
) -> bytes:
    """A file with one colour in it."""
    file = BytesIO()
    Image.new("RGB", size, colour).convert(mode).save(file, format=format)
    return file.getvalue()


def data_uri(data: bytes, label: str = "image/png") -> str:
    return f"data:{label};base64,{base64.b64encode(data).decode()}"


def good(**more: Any) -> dict[str, Any]:
    """A request that is answered, with fields added or replaced."""
    return {"image": data_uri(picture()), "question": "What colour is this?", **more}


@dataclass
class ScriptedRouter:
    """A router whose predictions are given; the policy is the real one. ``before`` may raise or sleep."""

    score: tuple[float, ...] = (0.2, 0.5, 0.9, 0.91, 0.91)
    before: Callable[[], None] | None = None
    version: str = "scripted"
    certificates: Certificates = NOTHING

    def route(self, inputs: RouteInputs, constraints: Constraints | None = None) -> Decision:
        if self.before is not None:
            self.before()
        import numpy as np

        row = np.array([self.score], np.float32)
        predictions = Predictions(row, row, np.zeros(1, np.float32))
        return decide(
            predictions,
            inputs.visual_tokens,
            inputs.ladder,
            constraints or Constraints(),
            PRICES,
            certificates=self.certificates,
        )


def settings(**values: Any) -> Settings:
    """Settings that read no environment: defaults are the class's own, but on a busy machine a router that
    takes its time is not late."""
    return Settings(engine="fake", **{"route_timeout_s": 30.0, **values})


def app_of(
    engine: Engine | None = None, router: Routes | None = None, config: Settings | None = None
) -> FastAPI:
    return create_app(config or settings(), engine or FakeEngine(), router)


class Talk:
    """A blocking client of one running app."""

    def __init__(self, runner: asyncio.Runner, client: httpx.AsyncClient) -> None:
        self._runner = runner
        self.client = client

    def run(self, coroutine: Any) -> Any:
        return self._runner.run(coroutine)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        response: httpx.Response = self._runner.run(self.client.request(method, path, **more))
        return response

    def answer(self, **more: Any) -> httpx.Response:
        return self.post("/v1/answer", json=good(**more))


@contextmanager
def talking(app: FastAPI) -> Iterator[Talk]:
    """Starts ``app`` (its lifespan), and stops it afterwards."""
    with asyncio.Runner() as runner:
        lifespan = app.router.lifespan_context(app)
        runner.run(lifespan.__aenter__())
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test")
        try:
            yield Talk(runner, client)
        finally:
            runner.run(client.aclose())
            runner.run(lifespan.__aexit__(None, None, None))


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error in ``response``, after checking its shape and that nothing of the inside leaked."""
    body = response.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert error["type"] in {"invalid_request_error", "server_error", "overloaded_error"}
    assert error["code"]
    for leak in ("Traceback", 'File "', "/home", "/tmp", "/usr", ".py"):
        assert leak not in response.text
    assert not re.search(r"0x[0-9a-f]{6}", response.text)
    assert response.headers["x-request-id"]
    return error
