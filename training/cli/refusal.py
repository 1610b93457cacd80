"""How a verb of ``m3-train`` ends where the user can mend what is wrong. As those of ``m3-router``."""

from __future__ import annotations

from typing import NoReturn

from router.cli import refusal


def refuse(error: object) -> NoReturn:
    """One line on stderr with what ``error`` says, and exit code 2."""
    refusal.refuse("m3-train", error)
