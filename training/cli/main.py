"""The script ``m3-train``. All else is imported in here, so that Ctrl-C ends in a line then, too."""

from __future__ import annotations

import sys

from router.cli.refusal import stopped


def main() -> None:
    """Entry point.

    Exit codes: 0 done, 1 stopped by what the user did not do (a full disk) or a finding against what was
    tried (`certify --simulate`), 2 wrong use or a domain error, 130 interrupted.
    """
    try:
        from training.cli.app import build

        build(sys.argv[1:])(prog_name="m3-train")
    except KeyboardInterrupt:
        stopped("m3-train")
