"""The script ``m3-train``. All else is imported in here, so that Ctrl-C ends in a line then, too."""

from __future__ import annotations

import sys

from router.cli.refusal import refuse, stopped

EXTRA = ("sklearn", "scipy", "lightgbm", "onnx", "skl2onnx", "onnxmltools", "polars", "matplotlib")
"""Packages of the extra ``train``, by the names they are imported under."""


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
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRA:
            raise
        refuse(
            "m3-train",
            f"{package} is not installed, which training needs and serving does not: run `make dev`, or "
            "`pip install -e '.[train]'` in this environment.",
        )
