"""``m3-router``: registers the verbs, and turns every domain error into one line and exit code 2."""

from __future__ import annotations

import typer

from m3_backbone.images import ImageError
from m3_backbone.types import CheckpointError, EngineError
from router.cli import ask, bench, doctor, openapi, route, serve
from router.cli.refusal import refuse
from router.errors import M3Error
from router.service.failures import as_m3_error


def build() -> typer.Typer:
    """A fresh command-line app."""
    app = typer.Typer(
        name="m3-router",
        help="Answers image questions at the number of visual tokens that they need.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.command("serve")(serve.command)
    app.command("ask", short_help="Answer a question about an image.")(ask.command)
    app.command("route", short_help="Say which scale would be chosen.")(route.command)
    app.command("bench", short_help="Time fixed scales and the router.")(bench.command)
    app.command("doctor", short_help="Check what is installed and loads.")(doctor.command)
    app.command("openapi")(openapi.command)
    return app


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 `doctor` found a fault, 2 wrong use or a domain error."""
    try:
        build()()
    except (ImageError, EngineError) as error:
        refuse("m3-router", as_m3_error(error).message)
    except (M3Error, CheckpointError) as error:
        refuse("m3-router", error)


if __name__ == "__main__":
    main()
