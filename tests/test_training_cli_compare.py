"""``m3-train compare``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from data.records import read_outcomes, write_outcomes
from tests.comparing import Failing, Noisy, world
from tests.test_training_report_replicates import perturbed
from training.candidates.lookup import Lookup
from training.cli.compare import command


@pytest.fixture(autouse=True)
def quick_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.candidates.candidates", lambda: (Noisy(), Lookup(), Failing()))


def run(out: Path, *arguments: object) -> Any:
    app = typer.Typer()
    app.command()(command)
    few = ["--seeds", "2", "--draws", "100", "--threads", "1"]
    words = ["--outcomes", world(), "--out", out, *few, *arguments]
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})


def test_the_command_writes_three_files_and_says_who_failed(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.exit_code == 0, done.output
    assert "noisy, averaged over log tokens from 4 to 300, is above" in done.output
    assert "Not fitted: failing, seed 0: RuntimeError: it went wrong" in done.output
    assert {path.name for path in tmp_path.glob("compare.*")} == {
        "compare.html",
        "compare.md",
        "compare.json",
    }
    assert len(list((tmp_path / "fits").iterdir())) == 4
    said = json.loads((tmp_path / "compare.json").read_text())["provenance"]["command"]
    assert said.startswith("m3-train compare --outcomes ")
    assert "--seeds 2 --draws 100" in said


def test_several_replicates_are_taken_and_named_in_the_provenance(tmp_path: Path) -> None:
    dev = read_outcomes(world() / "dev")
    for k in (1, 2):
        write_outcomes(tmp_path / f"again-{k}", perturbed(dev, k))
    given = ("--replicate", tmp_path / "again-1", "--replicate", tmp_path / "again-2")
    done = run(tmp_path / "out", "--candidate", "lookup", "--seeds", "1", *given)
    assert done.exit_code == 0, done.output
    content = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert content["reachable_oracle"]["replicates"] == 3
    assert "--replicate again-1 --replicate again-2" in content["provenance"]["command"]
    assert {"dev", "dev+1", "dev+2"} <= set(content["provenance"]["outcomes"])


def test_some_candidates_another_main_one_and_fits_elsewhere(tmp_path: Path) -> None:
    chosen = ("--candidate", "noisy", "--candidate", "lookup", "--main", "lookup")
    done = run(tmp_path / "out", *chosen, "--fits", tmp_path / "fits", "--folds", "2", "--learning-curve")
    assert done.exit_code == 0, done.output
    content = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert (content["main"], content["folds"], content["complete"]) == ("lookup", 2, True)
    assert len(content["learning_curve"]) == 5
    assert (
        "--candidate noisy --candidate lookup --main lookup --learning-curve"
        in content["provenance"]["command"]
    )
    assert not (tmp_path / "out" / "fits").exists()
    assert list((tmp_path / "fits").iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--candidate", "magic"], "'magic': take one of noisy"),
        (["--main", "magic"], "'magic': take one of noisy"),
        (["--refit", "magic"], "'magic': take one of noisy"),
        (["--main", "failing"], "failing could not be fitted"),
        (["--split", "test"], "--final"),
        (["--split", "tune"], "compare them on dev"),
        (["--folds", "1"], "One fold"),
        (["--ablate", "--main", "lookup"], "no groups of features to switch off"),
        (["--candidate", "noisy", "--main", "lookup"], "--main lookup is not among those"),
        (["--candidate", "noisy", "--main", "lookup"], "add --candidate lookup"),
        (["--candidate", "noisy", "--refit", "lookup"], "--refit lookup is not among those"),
        (["--also-test", "--final"], "--also-test goes with a --split"),
        (["--also-test", "--folds", "2"], "--also-test goes with a --split"),
        (
            ["--outcomes", "/nowhere"],
            "There is no folder /nowhere: --outcomes takes one with a table per split",
        ),
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_code(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = run(tmp_path, *arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output
    assert not list(tmp_path.glob("compare.*"))


def test_final_logs_the_opening_before_it_compares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.report import openings

    monkeypatch.setattr(openings, "PROJECT", tmp_path)
    monkeypatch.chdir(tmp_path)
    done = run(Path("out"), "--final", "--main", "failing")
    assert done.exit_code == 2  # an opening that fails has still been one
    (line,) = (tmp_path / "docs" / "test_openings.jsonl").read_text().splitlines()
    assert json.loads(line)["command"].startswith("m3-train compare")
    assert run(Path("out"), "--final").exit_code == 0
    assert json.loads((tmp_path / "out" / "compare.json").read_text())["split"] == "test"
    assert len((tmp_path / "docs" / "test_openings.jsonl").read_text().splitlines()) == 2


def test_what_fits_chose_for_the_test_split_unopened_is_scored_by_final_without_fitting_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.report import openings

    monkeypatch.setattr(openings, "PROJECT", tmp_path)
    monkeypatch.chdir(tmp_path)
    lookup = ("--candidate", "lookup")
    assert run(tmp_path / "anew", *lookup, "--final").exit_code == 0
    dev = run(tmp_path / "dev", *lookup, "--also-test")
    assert dev.exit_code == 0, dev.output
    assert len(list((tmp_path / "dev" / "fits").iterdir())) == 4  # of two seeds, on dev and on test
    assert len((tmp_path / "docs" / "test_openings.jsonl").read_text().splitlines()) == 1
    monkeypatch.delattr(Lookup, "fit")
    done = run(tmp_path / "final", *lookup, "--final", "--fits", tmp_path / "dev" / "fits")
    assert done.exit_code == 0, done.output
    anew, final = (json.loads((tmp_path / name / "compare.json").read_text()) for name in ("anew", "final"))
    for page in (anew, final):
        del page["provenance"]
        for row in page["candidates"]:
            row.pop("cpu_seconds_to_fit", None)
    assert anew == final
    assert run(tmp_path / "dev", *lookup, "--also-test").exit_code == 0


def test_an_interrupted_run_keeps_its_fits_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy = Noisy()

    class Interrupting(Lookup):
        def fit(self, *args: Any, **more: Any) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setattr("training.candidates.candidates", lambda: (noisy, Interrupting()))
    done = run(tmp_path)
    assert done.exit_code == 130
    assert "Go on with the same command" in done.output
    monkeypatch.setattr("training.candidates.candidates", lambda: (noisy, Lookup()))
    assert run(tmp_path).exit_code == 0
    assert noisy.fitted == [0, 1]


def test_a_named_candidate_that_could_not_be_fitted_is_an_exit_code(tmp_path: Path) -> None:
    done = run(tmp_path, "--candidate", "noisy", "--candidate", "failing")
    assert done.exit_code == 2
    assert "failing was named and could not be fitted with every seed" in done.output
    assert (tmp_path / "compare.html").exists()  # what is known of the other is told


@dataclass(frozen=True)
class Finer(Noisy):
    name: str = "finer"
    groups: tuple[str, ...] = ("length", "fine")


def test_without_the_finer_tokens_who_reads_them_is_left_out_or_named_as_not_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.candidates.candidates", lambda: (Noisy(), Lookup(), Finer()))
    done = run(tmp_path / "everyone")
    assert done.exit_code == 0, done.output
    assert (
        "Without finer, for it reads finer pooled tokens, which router-train, tune, dev came" in done.output
    )
    assert "`m3-train grids`" in done.output
    named = ("--candidate", "noisy", "--candidate", "finer")
    for chosen in (named, ("--main", "finer")):
        done = run(tmp_path / "named", *chosen)
        assert done.exit_code == 2, done.output
        assert "finer cannot be fitted, for it reads finer pooled tokens" in done.output
        assert "which router-train, tune, dev came without: `make grids`" in done.output
        assert "`m3-train grids`" in done.output
        assert not (tmp_path / "named").exists()
