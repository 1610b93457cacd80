"""How both command lines end where the user can mend what is wrong: one line on stderr and exit code 2."""

from __future__ import annotations

from typing import NoReturn

import typer

EXIT_DOMAIN_ERROR = 2


def refuse(program: str, error: object) -> NoReturn:
    """Ends the process with what ``error`` says, in one line that begins with the program's name."""
    typer.echo(f"{program}: {' '.join(str(error).split())}", err=True)
    raise SystemExit(EXIT_DOMAIN_ERROR)
