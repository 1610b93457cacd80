"""``m3-train certify``: what it prints, writes and refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from data.records import long_texts, write_outcomes
from router.bundle import Bundle
from router.certificates import Certificates
from tests.routing import outcomes, small_fit
from training.cli.certify import command


def run(*arguments: object) -> Any:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A bundle, and the tables of two splits."""
    small_fit().bundle.write(tmp_path / "bundle")
    for split in ("certify", "dev"):
        write_outcomes(tmp_path / "outcomes" / split, outcomes(150, split=split))
    return tmp_path


def test_certificates_are_printed_and_written_into_the_bundle(home: Path) -> None:
    done = run(
        "--bundle", home / "bundle", "--outcomes", home / "outcomes", "--epsilon", 0.2, "--delta", 0.1,
        "--loss", "regret", "--loss", "agreement",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    for words in ("all families together", "by family", "needed", "6 certificates from 150 images"):
        assert words in done.output
    found = Bundle.load(home / "bundle").certificates
    assert [(c.loss, c.group) for c in found.accuracy] == [
        (loss, group) for group in ("", "coarse", "fine") for loss in ("regret", "agreement")
    ]
    assert len(found.outcomes) == 64
    assert [t.delta for t in found.tokens] == [0.1]
    again = run(
        "--bundle", home / "bundle", "--outcomes", home / "outcomes" / "certify", "--no-families",
        "--epsilon", 0.2, "--delta", 0.1,
    )  # fmt: skip
    assert again.exit_code == 0, again.output
    assert {c.loss for c in Bundle.load(home / "bundle").certificates.accuracy} == {"regret", "net"}


def test_agreement_on_long_answers_without_their_probability_is_told_of(home: Path) -> None:
    table = outcomes(150, split="certify")
    words = [["A sign with one word on it."] * 4 + ["A sign that has one word on it."]] * len(table)
    for nats, told in ((np.nan, True), (-0.5, False)):
        known = np.full(table.scores.shape, nats, np.float32)
        write_outcomes(
            home / "outcomes" / "certify", replace(table, answers=long_texts(words), full_logprob=known)
        )
        done = run(
            "--bundle", home / "bundle", "--outcomes", home / "outcomes", "--epsilon", 0.2, "--delta", 0.1,
            "--loss", "agreement", "--no-families",
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        assert (f"{len(table):,} questions have long answers" in done.output) is told
    # As likely everywhere as at the full scale: all of them agree, and the smallest scale is certified.
    (found,) = Bundle.load(home / "bundle").certificates.accuracy
    assert found.visual_tokens < 20


def test_a_simulation_changes_no_bundle_and_says_whether_the_certificates_hold(home: Path) -> None:
    done = run(
        "--bundle", home / "bundle", "--outcomes", home / "outcomes" / "dev", "--simulate", "--draws", 50,
        "--images", 80, "--epsilon", 0.2, "--delta", 0.1,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "50 calibration sets of 80 images" in done.output
    assert "lightgbm_per_scale" in done.output
    assert "reversed" in done.output
    assert "hold: the lower 95% limit" in done.output
    assert "by family" in done.output
    assert "tokens" in done.output
    assert Bundle.load(home / "bundle").certificates == Certificates()


def test_a_simulation_is_written_with_its_command_and_nothing_printed_is_cut_off(home: Path) -> None:
    given = (
        "--bundle", home / "bundle", "--outcomes", home / "outcomes" / "dev", "--simulate", "--draws", 20,
        "--epsilon", 0.2, "--delta", 0.1, "--out", home / "out",
    )  # fmt: skip
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, [str(a) for a in given], env={"COLUMNS": "60"})
    assert done.exit_code == 0, done.output
    for words in ("violations", "epsilon", "lightgbm_per_scale"):
        assert words in done.output
    content = json.loads((home / "out" / "simulation.json").read_text())
    assert content["holds"] is True
    cells = content["certificates"]
    assert {c["policy"].removesuffix(", by family") for c in cells} == {
        "just above",
        "lightgbm_per_scale",
        "reversed",
    }
    assert {c["loss"] for c in cells} == {"regret", "net", "tokens"}
    command_line = content["provenance"]["command"]
    assert command_line.startswith("m3-train certify --simulate --bundle bundle --outcomes dev --epsilon 0.2")
    assert command_line.endswith("--delta 0.1 --draws 20 --out out")
    page = (home / "out" / "simulation.md").read_text()
    assert f"All {len(cells)} hold" in page
    assert f"Made by `{command_line}` on {content['provenance']['created'][:10]} at commit `" in page
    assert str(home) not in page + json.dumps(content)
    refused = run("--bundle", home / "bundle", "--outcomes", home / "outcomes", "--out", home / "out")
    assert refused.exit_code == 2
    assert "--out is of --simulate" in refused.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--outcomes", "OUTCOMES/dev"], "certificates come from 'certify'"),
        (["--loss", "harm"], "Valid: regret, net, agreement"),
        (["--epsilon", 1.5], "epsilon must be above 0 and below 1"),
        (
            ["--epsilon", 0.001],
            "150 images cannot certify anything that was asked for, even",
        ),
        (["--bundle", "/nowhere/at/all"], "There is no bundle"),
        (["--outcomes", "/nowhere/at/all"], "is not an outcome table"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_the_bundle_as_it_is(
    home: Path, arguments: list[object], said: str
) -> None:
    given = [str(a).replace("OUTCOMES", str(home / "outcomes")) for a in arguments]
    done = run("--bundle", home / "bundle", "--outcomes", home / "outcomes", *given)
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output
    assert Bundle.load(home / "bundle").certificates == Certificates()
