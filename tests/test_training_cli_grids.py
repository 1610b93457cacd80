"""``m3-train grids``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import m3_backbone
from tests.test_training_grids import Encoder
from training.cli.grids import command


def test_the_images_of_a_data_set_are_cached_and_a_second_run_encodes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    rows = [{"image": "a.png", "question": f"q{i}", "answers": ["yes"]} for i in range(3)]
    rows.append({"image": "none.png", "question": "q", "answers": ["yes"]})
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setattr(m3_backbone, "load_backbone", lambda *_, **__: Encoder())
    app = typer.Typer()
    app.command()(command)
    words = ["--dataset", str(tmp_path / "mine.jsonl"), "--out", str(tmp_path / "grids")]
    for encoded in (1, 0):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        assert f"{encoded} of them encoded now, 1 could not be opened" in done.output
        assert "Not opened: " in done.output
