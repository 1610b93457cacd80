"""The README's worked examples: pictures are drawn, and the service and ``m3-router ask`` really run.

The pictures are of the split ``dev``, on which nothing is trained. Of each the first two questions are asked
that are not answered with yes or no.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from data.files import write_bytes
from data.scalebench import picture
from router.cli.loading import load_engine, load_router
from router.cli.pictures import generated
from router.service.app import create_app
from router.settings import PREFIX, Settings
from training.report.readme import ReadmeError
from training.report.readme_markdown import table

SPLIT = "dev"
INDICES = (577, 47, 8, 2, 31)
"""Pictures of five of the families, picked by hand for what they show."""

QUESTIONS = 2
"""Of each picture."""

SHOWN = (("scenes", "background"), ("signs", "read"))
"""(family, kind) of the questions that ``m3-router ask`` is shown with, an easy one and a harder one."""

FOLDER = Path("docs") / "examples"

PATIENCE = {"route_timeout_s": 30.0, "image_cache_bytes": 0}
"""Settings that differ from the defaults: a router is not late because the machine is busy, and every
request encodes its picture, as the first about it does."""


@dataclass(frozen=True)
class Asked:
    """A question about a picture, and what is right. path: of the picture, within the project."""

    family: str
    kind: str
    path: Path
    question: str
    answer: str


def examples(project: Path, engine: str = "torch") -> dict[str, str]:
    """Block's name -> Markdown, by m3-tiny and its router; the environment's settings are not read.

    Draws the pictures that ``project`` lacks, or has otherwise. engine: ``fake`` for trying this out.
    Raises `ReadmeError` when a run fails, `router.errors.M3Error` when backbone or router cannot be loaded.
    """
    asked = draw(project)
    replies = asyncio.run(answers(project, asked, engine))
    rows = [
        [each.family, each.question, each.answer, reply["answer"] or "(empty)", str(reply["scale"])]
        for each, reply in zip(asked, replies, strict=True)
    ]
    shown = [next(i for i, a in enumerate(asked) if (a.family, a.kind) == key) for key in SHOWN]
    return {
        "examples": table(["picture", "question", "right answer", "m3-tiny's answer", "scale chosen"], rows),
        "ask": "\n\n".join(ask(project, asked[i], engine) for i in shown),
        "reply": f"```json\n{json.dumps(replies[shown[0]], indent=2, ensure_ascii=False)}\n```",
    }


def draw(project: Path) -> list[Asked]:
    """The pictures, as PNG files in `FOLDER` below ``project``, and the questions about them."""
    asked = []
    for index in INDICES:
        drawn = picture(SPLIT, index)
        path = FOLDER / f"{drawn.family}.png"
        if not _holds(project / path, drawn.image):
            file = BytesIO()
            drawn.image.save(file, format="PNG", optimize=True)
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(project / path, file.getvalue())
        open_ended = [q for q in drawn.questions if q.answer not in ("yes", "no")]
        asked += [Asked(drawn.family, q.kind, path, q.text, q.answer) for q in open_ended[:QUESTIONS]]
    return asked


def _holds(path: Path, image: Image.Image) -> bool:
    if not path.is_file():
        return False
    with Image.open(path) as stored:
        return stored.size == image.size and stored.convert("RGB").tobytes() == image.convert("RGB").tobytes()


async def answers(project: Path, asked: Sequence[Asked], engine: str = "torch") -> list[dict[str, Any]]:
    """What ``POST /v1/answer`` of the service, in this process, replies to each. Raises `ReadmeError`."""
    defaults = {name: field.get_default(call_default_factory=True) for name, field in _FIELDS.items()}
    settings = Settings(**{**defaults, **PATIENCE, "engine": engine})
    loaded = load_engine(settings)
    app = create_app(settings, loaded, load_router(settings, loaded))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=None
        ) as client,
    ):

        async def reply(image: bytes, question: str) -> dict[str, Any]:
            uri = f"data:image/png;base64,{base64.b64encode(image).decode()}"
            response = await client.post("/v1/answer", json={"image": uri, "question": question})
            if response.status_code != 200:
                raise ReadmeError(f"The service replied to {question!r} with {response.text}")
            body: dict[str, Any] = response.json()
            return body

        (other,) = generated(1)  # the first request pays for lazy set-up
        await reply(other, asked[0].question)
        return [await reply((project / each.path).read_bytes(), each.question) for each in asked]


_FIELDS = Settings.model_fields


def ask(project: Path, asked: Asked, engine: str = "torch") -> str:
    """The command and what it prints, each in a block of code. Raises `ReadmeError` when it fails."""
    words = ["ask", str(asked.path), asked.question]
    done = subprocess.run(
        [sys.executable, "-m", "router.cli.main", *words, "--engine", engine],
        cwd=project,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(PREFIX)},
            **{f"{PREFIX}{name.upper()}": str(value) for name, value in PATIENCE.items()},
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ReadmeError(f"`m3-router ask` failed about {asked.question!r}: {done.stderr.strip()}")
    command = f'.venv/bin/m3-router ask {asked.path} "{asked.question}"'
    return f"```bash\n{command}\n```\n```\n{done.stdout.strip()}\n```"
