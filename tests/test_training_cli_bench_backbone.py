from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from tests.backbones import write_checkpoint
from training.cli.bench_backbone import command


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(command)
    return made


def test_tables_come_first_and_one_json_line_last(app: typer.Typer, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "m3")
    given = {
        "--backbone": checkpoint,
        "--pairs": 4,
        "--repeats": 1,
        "--threads": 1,
        "--out": tmp_path / "out",
    }
    threads = torch.get_num_threads()
    try:
        done = CliRunner().invoke(
            app, [word for option, value in given.items() for word in (option, str(value))]
        )
    finally:
        torch.set_num_threads(threads)
    assert done.exit_code == 0, done.output
    *shown, line = done.stdout.splitlines()
    summary = json.loads(line)
    assert any("One cold request" in row for row in shown)
    assert summary["bench"] == "m3-backbone"
    assert summary["provenance"]["threads"] == 1
    assert summary["provenance"]["command"].startswith("m3-train bench-backbone --backbone m3 --threads 1")
    assert str(tmp_path) not in (tmp_path / "out" / "backbone-bench.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backbone", "nowhere"], "nowhere is neither a folder nor a hub name"),
        (["--device", "gpu"], "device 'gpu' cannot be used: Expected one of"),
        (["--random", "llava-7b", "--device", "cuda:99"], "device 'cuda:99' cannot be used: "),
        (["--dtype", "int8"], "dtype 'int8' is not known"),
        (["--random", "gpt-2"], "--random 'gpt-2' is not known. Known: llava-7b"),
    ],
)
def test_what_cannot_be_measured_is_one_line(app: typer.Typer, arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert f"m3-train: {message}" in done.stderr
