"""A stand-in for ``vllm serve``: its models and its completions, as far as `m3_backbone.vllm_remote` asks.

Answers with a client of `tests.language_models`; `tests/test_vllm_service.py` asks the real one.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from m3_backbone.language_model import Prefix
from tests.language_models import TorchClient


class Completions:
    """status: what it answers instead, where that is not 200. cuts: ends streams after their first token.

    says: the first event of every stream, instead of a token. most: positions that it says it has.
    """

    def __init__(self, client: TorchClient, model: str) -> None:
        self.client = client
        self.model = model
        self.status = 200
        self.cuts = False
        self.says = ""
        self.most: int | None = None
        self.bodies: list[dict[str, Any]] = []
        self.ports: list[int] = []  # that completions were asked from
        self.app = FastAPI()
        self.app.get("/v1/models")(self.models)
        self.app.post("/v1/completions")(self.completions)

    async def models(self) -> dict[str, Any]:
        return {"object": "list", "data": [{"id": self.model, "max_model_len": self.most}]}

    async def completions(self, body: dict[str, Any], request: Request) -> Response:
        self.bodies.append(body)
        assert request.client is not None
        self.ports.append(request.client.port)
        if self.status != 200:
            return Response(status_code=self.status)
        return StreamingResponse(self._events(body), media_type="text/event-stream")

    async def _events(self, body: dict[str, Any]) -> AsyncIterator[str]:
        if self.says:
            yield f"data: {self.says}\n\ndata: [DONE]\n\n"
            return
        embeds = torch.load(io.BytesIO(base64.b64decode(body["prompt_embeds"])), weights_only=True)
        prefix = Prefix(embeds, frozenset(body["stop_token_ids"]), body["max_tokens"])
        async for picked in self.client.stream(prefix):
            # the runner-up's is made up: the margin is not what these tests compare
            top = {f"token_id:{picked.token}": picked.logprob, "token_id:0": -100.0}
            choice = {
                "index": 0,
                "text": "?",
                "token_ids": [picked.token],
                "logprobs": {
                    "tokens": [f"token_id:{picked.token}"],
                    "token_logprobs": [picked.logprob],
                    "top_logprobs": [top],
                },
            }
            yield f"data: {json.dumps({'choices': [choice]})}\n\n"
            if self.cuts:
                return
        yield "data: [DONE]\n\n"


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The address of ``app`` on this machine."""
    config = uvicorn.Config(app, port=0, log_level="critical", ws="none", lifespan="off")
    server = uvicorn.Server(config)
    listener = config.bind_socket()
    thread = threading.Thread(target=asyncio.run, args=(server.serve([listener]),))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
