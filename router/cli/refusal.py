"""How both command lines end early: one line on stderr. Imports nothing: needed while others load."""

from __future__ import annotations

import sys
from typing import NoReturn

EXIT_DOMAIN_ERROR = 2
EXIT_INTERRUPTED = 130


def refuse(program: str, error: object) -> NoReturn:
    """Where the user can mend what is wrong: what ``error`` says, after the program's name."""
    sys.stderr.write(f"{program}: {' '.join(str(error).split())}\n")
    raise SystemExit(EXIT_DOMAIN_ERROR)


def stopped(program: str) -> NoReturn:
    """After Ctrl-C."""
    sys.stderr.write(f"\n{program}: stopped by Ctrl-C.\n")  # below the terminal's ^C
    raise SystemExit(EXIT_INTERRUPTED) from None
