"""``m3-train scalebench``: the list of splits, contact sheets, hashes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import m3_backbone
from data.scalebench import PLANS
from data.scalebench import digests as kept
from data.scalebench.digests import Digest, Digests
from data.scalebench.families import FAMILIES, HELD_OUT
from data.scalebench.plans import EDITION
from m3_backbone.types import CheckpointError
from tests.labelling import LADDER, FakeBackbone
from training import contact_sheet
from training.cli.scalebench import command
from training.contact_sheet import draw, show


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160"})
    return result.exit_code, result.output


def test_without_an_option_the_splits_are_listed() -> None:
    code, text = run()
    assert code == 0
    assert EDITION in text
    for split, plan in PLANS.items():
        (line,) = (line for line in text.splitlines() if f"│ {split} " in line)
        assert f"{plan.images:,}" in line


def test_a_sheet_shows_each_family_with_every_scale_s_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backbone = FakeBackbone()
    monkeypatch.setitem(m3_backbone.__dict__, "load_backbone", lambda path: backbone)
    code, text = run("--preview", str(tmp_path / "sheets"), "--per-family", "1")
    assert code == 0, text
    sheets = {path.name for path in (tmp_path / "sheets").iterdir()}
    held_out = {f"shift-families-{family}.png" for family in HELD_OUT}
    assert sheets == {f"dev-{family}.png" for family in FAMILIES} | held_out
    assert len(backbone.encoded) == len(FAMILIES) + len(HELD_OUT)  # each picture once
    code, text = run("--preview", str(tmp_path / "one"), "--per-family", "1", "--split", "shift-jpeg")
    assert {path.name for path in (tmp_path / "one").iterdir()} == {f"shift-jpeg-{f}.png" for f in FAMILIES}


def test_answers_are_those_of_every_scale_and_right_ones_stand_apart() -> None:
    shown = show("dev", 1, FakeBackbone())["scenes"]
    (one,) = shown
    assert [list(answers) for answers in one.answers] == [list(LADDER)] * len(one.picture.questions)
    questions = [dataclasses.replace(q, answer="yes") for q in one.picture.questions]
    right = dataclasses.replace(one, picture=dataclasses.replace(one.picture, questions=tuple(questions)))
    lines = contact_sheet._lines(right)
    for text, ink in lines:
        if text.startswith("    right at"):
            assert ink == contact_sheet._RIGHT
            assert "36" in text  # the fake's largest scale is always right
    assert sum(text.startswith("    right at") for text, _ in lines) == len(questions)
    with_answers, without = draw([right]), draw([dataclasses.replace(right, answers=())])
    assert not np.array_equal(np.asarray(with_answers), np.asarray(without))
    assert isinstance(with_answers, Image.Image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "nope"], "Split 'nope' does not exist. Splits: backbone-train"),
        (["--backbone", "gone"], "config.json is missing"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def load(path: str) -> Any:
        raise CheckpointError("config.json is missing")

    monkeypatch.setitem(m3_backbone.__dict__, "load_backbone", load)
    code, text = run("--preview", str(tmp_path), *arguments)
    assert code == 1
    assert f"Error: {message}" in text
    assert "Traceback" not in text


def test_digests_are_recorded_and_a_changed_split_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn = Digests(EDITION, "0", {split: Digest(1, split, split) for split in PLANS})
    path = tmp_path / "digests.json"
    monkeypatch.setattr(kept, "RECORD", path)
    monkeypatch.setattr(kept, "record", lambda workers, done: drawn)
    assert run("--digests")[0] == 1  # nothing is recorded yet
    assert run("--record")[0] == 0
    code, text = run("--digests")
    assert (code, text.strip()) == (0, "Every split is what was recorded.")
    drawn = dataclasses.replace(drawn, splits={**drawn.splits, "dev": Digest(1, "x", "x")})
    code, text = run("--digests")
    assert code == 1
    assert "dev: recorded 1 pictures dev, drawn 1 pictures x." in text
    assert "Every split" not in text
