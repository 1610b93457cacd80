"""``m3-router openapi``: the document that describes the HTTP API, as docs/openapi.json holds it."""

from __future__ import annotations

import json

import typer

from m3_backbone.fake import FakeEngine
from router.service.app import create_app
from router.settings import Settings


def command() -> None:
    """Print the OpenAPI document of the service."""
    typer.echo(document(), nl=False)


def document() -> str:
    """The same for every engine, router and setting."""
    app = create_app(Settings.model_construct(), FakeEngine())
    return json.dumps(app.openapi(), indent=1, ensure_ascii=False) + "\n"
