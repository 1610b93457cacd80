"""The script ``m3-router``. All else is imported in here, so that Ctrl-C ends in a line then, too."""

from __future__ import annotations

from router.cli.refusal import stopped


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 `doctor` found a fault, 2 wrong use or a domain error, 130
    interrupted."""
    try:
        from router.cli.app import run

        run()
    except KeyboardInterrupt:
        stopped("m3-router")


if __name__ == "__main__":
    main()
