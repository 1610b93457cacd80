from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from data.records import OutcomeTable, RecordError, write_outcomes
from router import Constraints, Router
from router.calibration import apply
from tests.routing import SCALES, outcomes, small_fit
from training.candidates import candidates
from training.candidates.base import Candidate, Examples, by_name, log_loss
from training.candidates.lightgbm_per_scale import LightGBMPerScale
from training.candidates.lightgbm_shared import LightGBMShared
from training.candidates.lookup import Lookup
from training.candidates.question_only import question_only
from training.cli.fit import FEW, command
from training.export import ExportError
from training.fit import build_spec, fit, read_tables

QUICK: dict[str, Any] = {"grid": ({"num_leaves": 7, "min_data_in_leaf": 20},), "folds": 2, "rounds": 40}


def quick(**more: Any) -> LightGBMPerScale:
    return LightGBMPerScale(**{**QUICK, **more})


def test_the_same_tables_and_seed_give_the_same_bundle_whatever_the_threads() -> None:
    train, tune = outcomes(100), outcomes(60, split="tune")
    one = fit(train, tune, quick(), seed=3, threads=1).bundle
    two = fit(train, tune, quick(), seed=3, threads=2).bundle
    assert one.version == two.version
    assert fit(train, tune, quick(), seed=4, threads=1).bundle.version != one.version


def test_what_was_fitted_predicts_better_than_the_mean_at_every_scale_that_can_be_predicted() -> None:
    result = small_fit()
    assert [row.scale for row in result.scales] == list(SCALES)
    for row in result.scales[:4]:  # the full scale is right nearly always: nothing to predict there
        assert row.log_loss < row.chance_log_loss - 0.05
    assert result.worst_parity <= 1e-5
    assert len(result.bundle.onnx) < 1_000_000


def test_the_bundle_remembers_how_it_was_made() -> None:
    bundle = small_fit().bundle
    assert bundle.backbone_fingerprint == "synthetic"
    assert bundle.novelty_threshold is not None
    assert {"seed", "n_train", "n_tune_images", "setting", "trees", "held_out_log_loss", "lightgbm"} <= set(
        bundle.provenance
    )
    assert bundle.provenance["heads_shared"] is True
    json.dumps(bundle.provenance)


def test_soft_scores_and_a_tolerance_get_heads_of_their_own() -> None:
    train, tune = outcomes(150, soft=True), outcomes(80, split="tune", soft=True)
    result = fit(train, tune, quick(), threads=1, tolerance=0.1)
    bundle = result.bundle
    assert bundle.provenance["heads_shared"] is False
    assert len(bundle.provenance["trees"]) == 10
    found = Router.of(bundle).predict(bundle.features.matrix(tune))
    assert found.score.mean() == pytest.approx(tune.scores.mean(), abs=0.02)
    assert found.sufficient.mean() == pytest.approx(tune.sufficient(0.1).mean(), abs=0.02)
    assert (found.sufficient.mean(axis=0) > found.score.mean(axis=0)).all()


def test_calibrated_frequencies_on_tune_are_the_observed_ones() -> None:
    bundle, tune = small_fit().bundle, outcomes(120, split="tune")
    found = Router.of(bundle).predict(bundle.features.matrix(tune))
    np.testing.assert_allclose(found.score.mean(axis=0), tune.scores.mean(axis=0), atol=0.01)
    assert apply(bundle.calibration.score, found.score).shape == found.score.shape


def test_tables_of_two_backbones_or_with_common_images_are_refused() -> None:
    train, tune = outcomes(60), outcomes(40, split="tune")
    other = replace(tune, manifest={**tune.manifest, "backbone_fingerprint": "else"})
    with pytest.raises(RecordError, match="backbone_fingerprint 'synthetic', tune has 'else'"):
        fit(train, other, quick())
    with pytest.raises(RecordError, match="share 40 images"):
        fit(train, replace(tune, image_ids=train.image_ids[:40]), quick())


def examples(table: OutcomeTable, candidate: Candidate, fitted_on: OutcomeTable) -> Examples:
    return Examples.of(table, build_spec(fitted_on, candidate.groups))


def test_every_candidate_answers_through_one_interface_and_each_knows_more_than_the_one_before() -> None:
    train, dev = outcomes(300), outcomes(150, split="dev")
    losses = []
    for candidate in (Lookup(), question_only(), quick()):
        if isinstance(candidate, LightGBMPerScale):
            # A word that stands for the kind is one column among those of words that say nothing.
            candidate = replace(candidate, **{**QUICK, "rounds": 120})
        fitted = candidate.fit(examples(train, candidate, train), seed=0, threads=1)
        found = fitted.predict(examples(dev, candidate, train))
        assert found.score.shape == found.sufficient.shape == dev.scores.shape
        assert found.score.dtype == np.float32
        losses.append(log_loss(dev.scores, found.score))
    chance = log_loss(dev.scores, np.tile(train.scores.mean(axis=0), (len(dev), 1)))
    lookup, question, both = losses
    assert both < question - 0.05
    assert question < chance - 0.05
    assert lookup == pytest.approx(question, abs=0.02)  # here the kind is all that a question tells


def test_a_shared_trunk_is_exported_as_it_was_fitted_and_knows_as_much() -> None:
    train, tune = outcomes(300), outcomes(120, split="tune")
    result = fit(train, tune, LightGBMShared(groups=small_fit().bundle.features.groups, **QUICK), threads=2)
    assert result.worst_parity <= 1e-5
    apart = small_fit()
    for row, other in zip(result.scales, apart.scales, strict=True):
        assert row.log_loss < other.log_loss + 0.02
    again = fit(train, tune, LightGBMShared(groups=small_fit().bundle.features.groups, **QUICK), threads=1)
    assert again.bundle.version == result.bundle.version


def test_the_lookup_answers_for_kinds_and_families_it_has_not_seen() -> None:
    train = outcomes(100)
    fitted = Lookup().fit(examples(train, Lookup(), train))
    some = train.take([0, 1, 2])
    strange = replace(some, families=np.array(["fine", "new", "coarse"]), kinds=np.array(["9", "0", "0"]))
    found = fitted.predict(examples(strange, Lookup(), train))
    np.testing.assert_allclose(found.score[1], train.scores.mean(axis=0), rtol=1e-5)
    fine = train.scores[train.families == "fine"].mean(axis=0)
    np.testing.assert_allclose(found.score[0], fine, atol=0.05)


def test_question_only_reads_nothing_of_the_image() -> None:
    train, tune = outcomes(100), outcomes(60, split="tune")
    bundle = fit(
        train, tune, replace(quick(), name="question_only", groups=question_only().groups), threads=1
    ).bundle
    assert bundle.needs == ("question_tokens",)
    assert bundle.novelty_threshold is None
    router = Router.of(bundle)
    inputs = tune.route_inputs(0)
    blank = replace(inputs, pooled=inputs.pooled * 0, grid_stats=inputs.grid_stats * 0)
    assert router.route(inputs).expected_scores == router.route(blank).expected_scores


def test_a_candidate_for_comparison_makes_no_bundle() -> None:
    with pytest.raises(ExportError, match="serves comparison only"):
        fit(outcomes(60), outcomes(40, split="tune"), Lookup())
    names = [c.name for c in candidates()]
    assert names[0] == "lightgbm_per_scale"  # the shipped one
    assert len(set(names)) == len(names)
    with pytest.raises(ValueError, match="'magic': take one of lightgbm_per_scale"):
        by_name("magic", candidates())


def test_the_command_writes_a_bundle_that_routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.candidates.candidates", lambda: (quick(),))
    for split, n in (("router-train", 100), ("tune", 60)):
        write_outcomes(tmp_path / "tables" / split, outcomes(n, split=split))
    app = typer.Typer()
    app.command()(command)
    out = tmp_path / "bundle"
    arguments = ["--outcomes", str(tmp_path / "tables"), "--out", str(out), "--threads", "1"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "log loss" in result.stdout
    assert "hardly any" not in result.output
    said = [line.partition(" s  ")[2] for line in result.stderr.splitlines()]
    assert said[1:] == [
        "fitting lightgbm_per_scale on 400 questions about 100 images",
        "tuning: settings to try on the first of 2 folds: 1",
        "tuning: how many trees, on the other folds",
        "fitting on all of it: 5 models",
        "exporting to ONNX, and checking the graph on tune and on edge values",
        "calibrating on 240 questions about 60 images",
        "setting the prices on tune",
    ]
    assert "Few images: 100 in router-train, 60 in tune." in result.stderr
    assert "Some hundreds in all are the least" in result.stderr
    router = Router.load(out, "synthetic")
    assert router.version in result.output
    assert set(router.bundle.provenance["outcomes"]) == {"router-train", "tune"}
    dev = outcomes(20, split="dev")
    assert router.route(dev.route_inputs(0), Constraints(max_visual_tokens=36)).scale <= 36
    wrong = CliRunner().invoke(app, [*arguments, "--candidate", "magic"])
    assert wrong.exit_code == 2
    assert "take one of" in wrong.output


def fitted(folder: Path) -> str:
    """What ``m3-train fit`` says of ``folder``/tables, whose bundle it leaves in ``folder``/bundle."""
    app = typer.Typer()
    app.command()(command)
    arguments = ["--outcomes", str(folder / "tables"), "--out", str(folder / "bundle"), "--threads", "1"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_enough_images_are_not_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.candidates.candidates", lambda: (quick(),))
    for split in ("router-train", "tune"):
        write_outcomes(tmp_path / "tables" / split, outcomes(FEW, split=split))
    said = fitted(tmp_path)
    assert "Few images" not in said


def test_a_backbone_that_gives_hardly_any_right_answer_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.candidates.candidates", lambda: (quick(),))
    for split, n in (("router-train", 100), ("tune", 60)):
        table = outcomes(n, split=split)
        few = np.where(np.arange(len(table))[:, None] % 50 == 0, table.scores, 0.0)
        write_outcomes(tmp_path / "tables" / split, replace(table, scores=few))
    said = fitted(tmp_path)
    assert "this backbone gives hardly any of these answers" in said
    # And so it is: the router expects next to nothing at any scale, and takes the smallest.
    decision = Router.load(tmp_path / "bundle", "synthetic").route(outcomes(20, split="dev").route_inputs(0))
    assert decision.scale == 1
    assert max(decision.expected_scores.values()) < 0.25
    assert "no scale is expected to score above 0.0" in decision.reason


def test_tables_that_are_not_there_or_of_another_split_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="m3-train label"):
        read_tables(tmp_path)
    write_outcomes(tmp_path / "router-train", outcomes(5, split="test"))
    with pytest.raises(RecordError, match="holds the split 'test'"):
        read_tables(tmp_path)


def test_what_is_wrong_with_tables_or_disk_is_one_line_and_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.candidates.candidates", lambda: (quick(), Lookup()))
    app = typer.Typer()
    app.command()(command)

    def run(*arguments: str) -> str:
        out = ["--outcomes", str(tmp_path / "tables"), "--out", str(tmp_path / "bundle")]
        result = CliRunner().invoke(app, [*out, *arguments])
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output
        assert isinstance(result.exception, SystemExit)
        return " ".join(result.output.split())

    assert "m3-train: " in run()
    write_outcomes(tmp_path / "tables" / "router-train", outcomes(60))
    write_outcomes(tmp_path / "tables" / "tune", outcomes(2, split="tune"))
    assert "2 images cannot be put into 5 folds: label more images" in run()
    write_outcomes(tmp_path / "tables" / "tune", outcomes(40, split="tune"))
    assert "serves comparison only" in run("--candidate", "lookup")
    (tmp_path / "bundle").write_text("a file where the folder should be")
    assert "bundle" in run()
