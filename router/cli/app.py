"""Registers the verbs of ``m3-router``, and turns every domain error into one line and exit code 2."""

from __future__ import annotations

import typer

from m3_backbone.images import ImageError
from m3_backbone.types import CheckpointError, EngineError
from router.cli import ask, bench, doctor, openapi, route, serve
from router.cli.refusal import refuse
from router.cli.verb import Verb, Version, command_line
from router.errors import M3Error
from router.service.failures import as_m3_error


def build() -> typer.Typer:
    """A fresh command-line app."""
    app = command_line()
    app.callback()(_overview)
    app.command("serve", cls=Verb)(serve.command)
    app.command("ask", cls=Verb, short_help="Answer a question about an image.")(ask.command)
    app.command("route", cls=Verb, short_help="Say which scale would be chosen.")(route.command)
    app.command("bench", cls=Verb, short_help="Time fixed scales and the router.")(bench.command)
    app.command("doctor", cls=Verb, short_help="Check what is installed and loads.")(doctor.command)
    app.command("openapi", cls=Verb)(openapi.command)
    return app


def run() -> None:
    """The command line of this process."""
    try:
        build()(prog_name="m3-router")
    except (ImageError, EngineError) as error:
        refuse("m3-router", as_m3_error(error).message)
    except (M3Error, CheckpointError) as error:
        refuse("m3-router", error)


def _overview(version: Version = False) -> None:
    """Answers image questions at the number of visual tokens that they need."""
