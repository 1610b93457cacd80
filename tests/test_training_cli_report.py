"""``m3-train report``, and the log of openings of the test split."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from data.records import write_outcomes
from tests.reporting import make_table, report, world
from tests.test_training_report_peers import comparison
from tests.test_training_report_replicates import perturbed
from training.cli.report import command
from training.report.openings import record_opening


def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(command)
    return made


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app(), [str(a) for a in arguments], env={"COLUMNS": "200"})


def test_the_command_writes_the_report_and_says_the_headline(tmp_path: Path) -> None:
    home = world()
    done = run(
        "--outcomes", home / "outcomes", "--bundle", home / "bundle", "--out", tmp_path, "--draws", 100
    )
    assert done.exit_code == 0, done.output
    assert "fewer visual tokens than scale" in done.output
    said = json.loads((tmp_path / "report.json").read_text())["provenance"]["command"]
    assert said.startswith("m3-train report --outcomes outcomes --bundle bundle --draws 100 --out ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--split", "test"], "--final"),
        (["--split", "certify"], "splits there: dev"),
        (["--bundle", "/nowhere/at/all"], "There is no bundle"),
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_code(tmp_path: Path, arguments: list[str], said: str) -> None:
    home = world()
    done = run("--outcomes", home / "outcomes", "--bundle", home / "bundle", "--out", tmp_path, *arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output
    assert not list(tmp_path.iterdir())


def test_final_logs_the_opening_before_it_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.report import openings

    monkeypatch.setattr(openings, "PROJECT", tmp_path)
    monkeypatch.chdir(tmp_path)
    home = world()
    done = run("--final", "--outcomes", home / "outcomes", "--bundle", "none", "--out", "out", "--draws", 100)
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "out" / "report.json").read_text())["split"] == "test"
    (line,) = (tmp_path / "docs" / "test_openings.jsonl").read_text().splitlines()
    assert json.loads(line)["bundle"] is None
    assert "Opening 1 of the test split" in done.output


def test_openings_are_appended_with_commit_and_hashes(tmp_path: Path) -> None:
    log = tmp_path / "docs" / "openings.jsonl"
    provenance = report().provenance
    assert record_opening(provenance, log) == 1
    assert record_opening(provenance, log) == 2
    line = json.loads(log.read_text().splitlines()[0])
    assert set(line) >= {"created", "commit", "backbone_fingerprint", "outcomes", "bundle", "command"}
    assert line["outcomes"]["dev"]["manifest_sha256"]
    assert line["bundle"]["onnx_sha256"]


def test_the_command_takes_a_replicate_and_shifts_and_names_them_in_its_provenance(tmp_path: Path) -> None:
    home = world()
    write_outcomes(tmp_path / "again", perturbed(report().inputs.table))
    for name in ("shift-a", "shift-b"):
        write_outcomes(tmp_path / name, make_table(name, 5, 1))
    done = run(
        *("--outcomes", home / "outcomes", "--bundle", "none", "--replicate", tmp_path / "again"),
        *("--shifts", tmp_path / "shift-b", "--shifts", tmp_path / "shift-a"),
        *("--out", tmp_path / "out", "--draws", 100),
    )
    assert done.exit_code == 0, done.output
    got = json.loads((tmp_path / "out" / "report.json").read_text())
    assert got["oracle_kind"] == "reachable"
    assert "--replicate again --shifts shift-b --shifts shift-a" in got["provenance"]["command"]
    assert [shift["split"] for shift in got["shifts"]] == ["dev", "shift-b", "shift-a"]
    known = {"dev", "dev+1", "tune", "router-train", "shift-a", "shift-b"}
    assert set(got["provenance"]["outcomes"]) == known


def test_several_replicates_are_taken_and_named_in_the_provenance(tmp_path: Path) -> None:
    dev = report().inputs.table
    for k in (2, 1):
        again = perturbed(dev, k, manifest={**dev.manifest, "split": f"dev+{k}"})
        write_outcomes(tmp_path / f"again-{k}", again)
    done = run(
        *("--outcomes", world() / "outcomes", "--bundle", "none", "--out", tmp_path / "out", "--draws", 100),
        *("--replicate", tmp_path / "again-2", "--replicate", tmp_path / "again-1"),
    )
    assert done.exit_code == 0, done.output
    got = json.loads((tmp_path / "out" / "report.json").read_text())
    assert got["reachable_oracle"]["replicates"] == 3
    assert "--replicate again-2 --replicate again-1" in got["provenance"]["command"]
    made_of = got["provenance"]["outcomes"]
    for k in (1, 2):
        manifest = (tmp_path / f"again-{k}" / "manifest.json").read_bytes()
        assert made_of[f"dev+{k}"]["manifest_sha256"] == hashlib.sha256(manifest).hexdigest()


def test_times_and_drops_and_candidates_are_options_named_in_the_provenance(tmp_path: Path) -> None:
    home = world()
    common = ("--outcomes", home / "outcomes", "--bundle", home / "bundle", "--draws", 100)
    rows = [
        {
            "platform": "here",
            "n_prompt_tokens": n,
            "encode_ms": 5,
            "prompt_eval_ms": n,
            "decode_tok_per_s": 50,
        }
        for n in (20, 600)
    ]
    (tmp_path / "times.json").write_text(json.dumps(rows))
    (tmp_path / "compare.json").write_text(json.dumps(comparison()))
    done = run(
        *(*common, "--out", tmp_path / "out", "--times", f"here={tmp_path / 'times.json'}"),
        *("--compare", tmp_path / "compare.json"),
    )
    assert done.exit_code == 0, done.output
    got = json.loads((tmp_path / "out" / "report.json").read_text())
    assert got["times_7b"]["source"] == "times.json, here"
    assert got["fixed"]["576"]["ms_7b"] == pytest.approx(5 + 576 + 12 + 2 * 20)
    assert len(got["peers"]["candidates"]) == 2
    assert "--compare compare.json --times here=times.json" in got["provenance"]["command"]
    assert "as it was measured (times.json, here)" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--accuracy-drop", "0.01"], "The bundle has no certificate that covers an accuracy drop of 0.01"),
        (["--accuracy-drop", "0.01", "--loss", "bleu"], "--loss has value 'bleu'. Valid: regret, net"),
        (["--delta", "0.1"], "--delta and --loss are those of an --accuracy-drop"),
        (["--times", "nowhere.json"], "nowhere.json cannot be read"),
        (["--compare", "nowhere"], "nowhere cannot be read"),
    ],
)
def test_options_that_cannot_be_met_are_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    home = world()
    done = run(
        *("--outcomes", home / "outcomes", "--bundle", home / "bundle", "--out", tmp_path / "out"),
        *("--draws", 100, *arguments),
    )
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output
