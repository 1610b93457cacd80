"""The verbs of ``m3-train`` in a table; a verb's module is imported when it is run or asked for help."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import typer

from router.cli.verb import Verb, Version, command_line

VERBS: dict[str, tuple[str, str]] = {
    "scalebench": (
        "training.cli.scalebench:command",
        "List ScaleBench's splits, draw contact sheets, keep its hashes.",
    ),
    "backbone": ("training.cli.backbone:command", "Train m3-tiny, from nothing or on from a checkpoint."),
    "label": ("training.cli.label:command", "Run a backbone over a data set at every scale."),
    "bench-backbone": (
        "training.cli.bench_backbone:command",
        "Measure the backbone against the reference's way.",
    ),
    "bench-service": ("training.cli.bench_service:command", "Measure the service under load."),
    "one-scale": (
        "training.cli.one_scale:command",
        "Compare M3 with a model per scale and with untrained pooling.",
    ),
    "merge": ("training.cli.merge:command", "Merge tables of parts or of some scales."),
    "grids": ("training.cli.grids:command", "Encode a table's images once more, for finer tokens."),
    "import": (
        "training.cli.import_outcomes:command",
        "Make a table of another program's answers.",
    ),
    "fit": ("training.cli.fit:command", "Fit a router on outcome tables and write its bundle."),
    "certify": ("training.cli.certify:command", "Certify a bundle's accuracy drops and token budgets."),
    "calibrate": (
        "training.cli.calibrate:command",
        "Calibrate a bundle on answers that the service watched.",
    ),
    "report": ("training.cli.report:command", "Write the report of cost against accuracy."),
    "readme": ("training.cli.readme:command", "Write the README's figures, and run its examples."),
    "compare": ("training.cli.compare:command", "Compare all candidates on the same outcome tables."),
    "compare-reports": (
        "training.cli.compare_reports:command",
        "Show what differs between two reports.",
    ),
}
"""Verb -> (module:function, one line for the overview)."""


def build(arguments: list[str]) -> typer.Typer:
    """The app for these arguments: only the verb that they name is imported."""
    app = command_line()
    app.callback()(_overview)
    named = next((argument for argument in arguments if not argument.startswith("-")), None)
    for verb, (target, line) in VERBS.items():
        command = load(target) if verb == named else _unloaded
        app.command(verb, cls=Verb, help=None if verb == named else line)(command)
    return app


def load(target: str) -> Callable[..., Any]:
    """``module:function`` -> the function."""
    module, name = target.split(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def _overview(version: Version = False) -> None:
    """Offline side of m3-router: train, label, fit, certify, report."""


def _unloaded() -> None:
    raise AssertionError("a verb that was not named cannot run")
