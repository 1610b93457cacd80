"""``m3-train readme`` on the project's own README, without the model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from training.cli.readme import command
from training.report.provenance import PROJECT
from training.report.readme import blocks

README = PROJECT / "README.md"


def run(*arguments: object) -> Any:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})


def test_blocks_that_were_changed_by_hand_are_written_again_and_nothing_else(tmp_path: Path) -> None:
    text = README.read_text(encoding="utf-8")
    path = tmp_path / "README.md"
    path.write_text(re.sub(r"\| charts \| 0\.\d\d", "| charts | 0.99", text), encoding="utf-8")
    done = run("--readme", path, "--no-examples")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("README.md: families changed")
    assert path.read_text(encoding="utf-8") == text


def test_a_readme_that_is_right_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(README.read_bytes())
    before = path.stat().st_mtime_ns, path.stat().st_ino
    done = run("--readme", path, "--no-examples")
    assert done.exit_code == 0, done.output
    assert "no figure changed" in done.output
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_a_readme_without_the_blocks_is_one_line_and_an_exit_code(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("# Nothing\n", encoding="utf-8")
    done = run("--readme", path, "--no-examples")
    assert done.exit_code == 2
    assert "no block for families" in done.output
    assert path.read_text(encoding="utf-8") == "# Nothing\n"
    assert set(blocks(README.read_text(encoding="utf-8"))) >= {"families", "examples"}
