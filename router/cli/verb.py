"""What the verbs of both command lines share: how defaults are told, ``-h``, ``--version``, and Ctrl-C."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from router.cli.refusal import stopped


def command_line() -> typer.Typer:
    """An app without verbs yet, as both command lines are made."""
    return typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


class Verb(TyperCommand):
    """A verb that says that it was interrupted, and whose help has defaults in one pair of brackets."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        for option in self.params:
            # Of a default that is told in words typer makes "[default: (cpu)]".
            if isinstance(option, TyperOption) and isinstance(option.show_default, str):
                option.help = f"{option.help}  [default: {option.show_default}]"
                option.show_default = False

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            stopped(ctx.find_root().info_name)


def _show(ctx: typer.Context, asked: bool) -> None:
    if asked:
        typer.echo(f"{ctx.info_name} {version('m3-router')}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", help="Show the version and exit.", callback=_show, is_eager=True)
]
