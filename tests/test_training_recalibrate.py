"""A bundle calibrated anew on answers that the service watched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from router import Router
from router.bundle import Bundle
from router.calibration import Isotonic, Platt
from router.decisions import DecisionLog, WatchedRecord
from router.policy import Constraints, decide
from router.predictor import Predictions
from tests.routing import SCALES, outcomes, small_fit
from training.cli.app import build
from training.recalibrate import FEWEST, WatchedError, read_watched, recalibrate, then

TABLE = outcomes(150, split="dev")


def watch(folder: Path, bundle: Bundle, *, n: int = len(TABLE), version: str | None = None) -> None:
    """``n`` requests decided by ``bundle`` and answered again: an answer agrees with the full scale's when
    both are right, and seldom otherwise."""
    router = Router.of(bundle)
    predictions = router.predict(bundle.features.matrix(TABLE))
    rng = np.random.default_rng(0)
    log = DecisionLog(folder)
    for i in range(n):
        alone = Predictions(
            *(
                values[i : i + 1]
                for values in (predictions.sufficient, predictions.score, predictions.novelty)
            )
        )
        decision = decide(alone, SCALES, bundle.ladder, Constraints(), bundle.prices)
        right = TABLE.scores[i] > 0
        agrees = (right & right[-1]) | (rng.random(len(SCALES)) < 0.02)
        agrees[-1] = True
        log.write(
            WatchedRecord.of(
                decision,
                request_id=f"r{i}",
                model="m",
                router=version or bundle.version,
                agreed=bool(agrees[SCALES.index(decision.scale)]),
                scales=SCALES,
                visual_tokens=SCALES,
                agrees=tuple(map(bool, agrees)),
            )
        )
    log.close()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decisions")
    watch(folder, small_fit().bundle)
    return folder


def test_what_was_logged_is_read_as_it_was_decided(watched: Path) -> None:
    bundle = small_fit().bundle
    rows = read_watched(watched, bundle)
    expected = Router.of(bundle).predict(bundle.features.matrix(TABLE))
    assert len(rows) == len(TABLE)
    assert np.allclose(rows.score, expected.score, atol=1e-6)
    assert np.allclose(rows.sufficient, expected.sufficient, atol=1e-6)
    assert rows.agrees[:, -1].all()
    assert not rows.fallback.any()


def test_the_new_bundle_predicts_agreement_better_and_loads_and_routes(watched: Path, tmp_path: Path) -> None:
    bundle = small_fit().bundle
    result = recalibrate(bundle, read_watched(watched, bundle), agreement=0.95)
    assert sum(result.after) < sum(result.before)
    assert result.now.agreement >= 0.95
    assert result.rows == len(TABLE)
    result.bundle.write(tmp_path / "new")
    router = Router.load(tmp_path / "new")
    assert router.version == result.bundle.version != bundle.version
    assert router.bundle.provenance["recalibrated"]["from"] == bundle.version
    assert router.bundle.onnx == bundle.onnx
    rows = read_watched(watched, bundle)
    score = router.predict(bundle.features.matrix(TABLE)).score
    assert np.abs(score.mean(axis=0) - rows.agrees.mean(axis=0)).max() < 0.02


def test_more_agreement_costs_more_tokens_and_all_of_it_is_the_full_scale(watched: Path) -> None:
    bundle = small_fit().bundle
    rows = read_watched(watched, bundle)
    results = [recalibrate(bundle, rows, agreement).now for agreement in (0.7, 0.9, 1.0)]
    assert [r.tokens for r in results] == sorted(r.tokens for r in results)
    assert [r.agreement for r in results] == sorted(r.agreement for r in results)
    assert results[0].tokens < results[-1].tokens


def test_requests_of_other_bundles_or_without_all_answers_are_left_out_and_too_few_are_refused(
    tmp_path: Path,
) -> None:
    bundle = small_fit().bundle
    watch(tmp_path, bundle, n=FEWEST)
    watch(tmp_path, bundle, n=7, version="another")
    assert len(read_watched(tmp_path, bundle)) == FEWEST
    other = replace(bundle, candidate="another")
    with pytest.raises(WatchedError, match=rf"holds {FEWEST + 7} watched requests, 0 of them decided by"):
        read_watched(tmp_path, other)


def test_a_folder_without_watched_rows_names_the_settings(tmp_path: Path) -> None:
    with pytest.raises(WatchedError, match="M3_WATCH_SHARE and M3_DECISION_LOG"):
        read_watched(tmp_path, small_fit().bundle)


def test_files_that_are_none_or_of_another_schema_are_named(tmp_path: Path) -> None:
    path = tmp_path / "watched-1.parquet"
    path.write_bytes(b"PAR1 or not")
    with pytest.raises(WatchedError, match=r"watched-1\.parquet cannot be read"):
        read_watched(tmp_path, small_fit().bundle)
    pq.write_table(pa.table({"scale": [1]}), path)
    with pytest.raises(WatchedError, match="has schema version ''"):
        read_watched(tmp_path, small_fit().bundle)


@given(st.floats(0, 2), st.floats(-2, 2), st.floats(0, 2), st.floats(-2, 2))
@settings(deadline=None, max_examples=50)
def test_a_map_after_a_map_is_one_map(a: float, b: float, c: float, d: float) -> None:
    p = np.linspace(0.01, 0.99, 50, dtype=np.float32)
    old, new = Platt(a, b), Platt(c, d)
    assert np.allclose(then(old, new)(p), new(old(p)), atol=2e-3)
    steps = Isotonic((0.1, 0.4, 0.45, 0.9), (0.05, 0.05, 0.6, 0.95))
    assert np.allclose(then(steps, new)(p), new(steps(p)), atol=0.02)
    assert isinstance(then(steps, new), Isotonic)


def test_the_command_writes_a_bundle_and_says_what_it_buys(watched: Path, tmp_path: Path) -> None:
    small_fit().bundle.write(tmp_path / "old")
    arguments = ["calibrate", "--bundle", tmp_path / "old", "--decisions", watched, "--out", tmp_path / "new"]
    done = CliRunner().invoke(build(["calibrate"]), [*map(str, arguments), "--agreement", "0.9"])
    assert done.exit_code == 0, done.output
    assert "600 watched requests" in done.output
    assert Router.load(tmp_path / "new").version in done.output


def test_the_command_fails_in_one_line(tmp_path: Path) -> None:
    arguments = ["calibrate", "--decisions", str(tmp_path), "--out", str(tmp_path / "new")]
    done = CliRunner().invoke(build(["calibrate"]), arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("m3-train: ")
    assert not (tmp_path / "new").exists()
