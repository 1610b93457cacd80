"""``m3-train backbone``: what it refuses before it trains anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from training.cli.app import build


@pytest.mark.parametrize(
    ("stage", "out", "said"),
    [
        ("everything", "new", "--stage has value 'everything'. Stages: tokenizer, pictures, "),
        ("all", "file/new", "It cannot be written (Not a directory)."),
    ],
)
def test_what_cannot_be_trained_is_one_line(tmp_path: Path, stage: str, out: str, said: str) -> None:
    (tmp_path / "file").write_text("no folder")
    arguments = ["backbone", "--stage", stage, "--out", str(tmp_path / out)]
    done = CliRunner().invoke(build(arguments), arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("m3-train: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert not (tmp_path / "new").exists()
