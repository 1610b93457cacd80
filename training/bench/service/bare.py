"""The least that a service about images can be: a FastAPI route that decodes the picture and returns.

Run as a module it serves that route, with uvicorn as it comes, until it is told to end.
"""

from __future__ import annotations

import base64
import socket
import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from m3_backbone.images import decode
from training.bench.service.asks import PATH


class Question(BaseModel):
    image: str
    question: str


def bare_app() -> FastAPI:
    """``POST /v1/answer`` with the body of the real one; the picture is decoded in a thread, as there."""
    app = FastAPI()

    @app.post(PATH)
    def answer(asked: Question) -> dict[str, int | str]:
        picture = decode(base64.b64decode(asked.image.partition(",")[2]))
        return {"question": asked.question, "width": picture.width, "height": picture.height}

    return app


def main() -> None:
    # With the protocol named, as `m3-router serve` has it: only then does asyncio turn Nagle's algorithm off,
    # which would hold every answer back for 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        sys.stderr.write(f"Serving a bare route on http://127.0.0.1:{listener.getsockname()[1]}\n")
        sys.stderr.flush()
        config = uvicorn.Config(bare_app(), log_config=None, access_log=False, lifespan="off")
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
