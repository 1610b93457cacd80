"""What the verbs of both command lines share: help, the version, and what is said after Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import NoReturn

import pytest
from typer.testing import CliRunner

from router.cli import main as of_router
from router.cli.app import build as build_router
from tests.commandline import Run, runner
from tests.test_imports import loaded_after
from training.cli import main as of_training
from training.cli.app import VERBS
from training.cli.app import build as build_training

ROUTER_VERBS = [each.name or "" for each in build_router().registered_commands]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


def interrupted(*_: object, **__: object) -> NoReturn:
    raise KeyboardInterrupt


def test_both_programs_tell_the_version(run: Run) -> None:
    assert run("--version").out == f"m3-router {version('m3-router')}\n"
    told = CliRunner().invoke(build_training(["--version"]), ["--version"], prog_name="m3-train")
    assert (told.exit_code, told.output) == (0, f"m3-train {version('m3-router')}\n")


@pytest.mark.parametrize("verb", ["", *ROUTER_VERBS])
def test_help_of_the_router_is_short_too_and_has_one_pair_of_brackets(run: Run, verb: str) -> None:
    long, short = run(*filter(None, [verb]), "--help"), run(*filter(None, [verb]), "-h")
    assert (short.code, short.out) == (0, long.out)
    assert "default: (" not in " ".join(long.out.split())
    assert verb != "serve" or "[default: 127.0.0.1]" in long.out


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_the_training_is_short_too_and_has_one_pair_of_brackets(verb: str) -> None:
    long, short = (CliRunner().invoke(build_training([verb]), [verb, flag]) for flag in ("--help", "-h"))
    assert (short.exit_code, short.output) == (0, long.output)
    assert "default: (" not in " ".join(long.output.split())


@pytest.mark.parametrize(
    ("program", "main", "module"),
    [
        ("m3-router", of_router.main, "router.cli.app"),
        ("m3-train", of_training.main, "training.cli.app"),
    ],
)
def test_ctrl_c_while_modules_are_loaded_ends_in_a_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    program: str,
    main: Callable[[], None],
    module: str,
) -> None:
    class Slow:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == module:
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Slow(), *sys.meta_path])
    with pytest.raises(SystemExit) as leave:
        main()
    assert leave.value.code == 130
    assert capsys.readouterr().err == f"\n{program}: stopped by Ctrl-C.\n"


@pytest.mark.parametrize("module", ["router.cli.main", "training.cli.main"])
def test_before_ctrl_c_is_heeded_next_to_nothing_is_loaded(module: str) -> None:
    assert not loaded_after(module) & {"typer", "numpy", "PIL", "pydantic", "fastapi", "rich"}


def test_ctrl_c_in_a_verb_ends_in_a_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.cli.openapi.document", interrupted)
    done = run("openapi")
    assert (done.code, done.out, done.err) == (130, "", "\nm3-router: stopped by Ctrl-C.\n")


@pytest.mark.parametrize(
    ("arguments", "at"),
    [
        (["fit", "--out", "nowhere"], "training.fit.read_tables"),
        (["report", "--out", "nowhere"], "training.report.inputs.load_inputs"),
    ],
)
def test_ctrl_c_in_a_verb_of_training_ends_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], at: str
) -> None:
    monkeypatch.setattr(at, interrupted)
    monkeypatch.setattr("sys.argv", ["m3-train", *arguments])
    with pytest.raises(SystemExit) as leave:
        of_training.main()
    assert (leave.value.code, capsys.readouterr().err) == (130, "\nm3-train: stopped by Ctrl-C.\n")


def test_training_without_its_packages_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``make serve`` installs the command, and not what it fits routers with."""
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    monkeypatch.delitem(sys.modules, "training.candidates.boosting", raising=False)
    monkeypatch.setattr("training.cli.app.load", lambda target: _needs_boosting)
    monkeypatch.setattr("sys.argv", ["m3-train", "fit"])
    with pytest.raises(SystemExit) as leave:
        of_training.main()
    assert leave.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("m3-train: lightgbm is not installed, which training needs")
    assert "`make dev`" in said


def _needs_boosting() -> None:
    import training.candidates.boosting  # noqa: F401


def test_another_package_that_is_missing_is_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "training.cli.app", None)
    with pytest.raises(ModuleNotFoundError):
        of_training.main()
