"""Two reports compared: what changed, and whether the paired bootstrap finds it more than chance."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tests.reporting import changed, report
from tests.test_training_report_replicates import with_replicate
from training.cli.compare_reports import command
from training.report.analysis import Report
from training.report.changes import Change, Comparison, ReportError, compare, comparison_json, read_report
from training.report.paired import per_image
from training.report.rows import as_json
from training.report.write import write_report


def written(r: Report, folder: Path) -> Path:
    write_report(r, folder, examples=0)
    return folder


@functools.cache
def content() -> dict[str, Any]:
    import tempfile

    return read_report(written(report(), Path(tempfile.mkdtemp(prefix="m3-compare-"))))


def by_name(c: Comparison) -> dict[str, Change]:
    return {change.name: change for change in c.changes}


def better(flips: int, seed: int = 0) -> dict[str, Any]:
    """The report of a model that answers ``flips`` more questions at scale 36, on the same images."""
    scores = report().inputs.table.scores.copy()
    wrong = np.flatnonzero(scores[:, 2] == 0)
    scores[np.random.default_rng(seed).choice(wrong, flips, replace=False), 2] = 1.0
    r = changed(scores=scores)
    found: dict[str, Any] = json.loads(json.dumps(_with_sums(r)))
    return found


def _with_sums(r: Report) -> dict[str, Any]:
    return {**as_json(r), "per_image": per_image(r)}


def test_the_written_json_ends_with_the_sums_per_image_and_keeps_its_other_keys() -> None:
    got, table = content(), report().inputs.table
    sums = got["per_image"]
    assert len(sums["image"]) == len(set(sums["image"])) == 250
    assert sum(sums["questions"]) == 750
    assert sum(sums["score"]["fixed 36"]) == table.scores[:, 2].sum()
    assert sum(sums["visual_tokens"]["fixed 36"]) == 36 * 750
    assert sum(sums["score"]["oracle"]) == table.scores.max(axis=1).sum()
    assert sum(sums["score"]["router"]) / 750 == pytest.approx(got["operating_point"]["accuracy"])
    assert {"n", "n_images", "split", "fixed", "oracle", "policies", "provenance"} <= set(got)
    assert not set(table.image_ids) & set(sums["image"])


def test_a_report_and_itself_are_equal() -> None:
    c = compare(content(), content(), draws=100)
    assert c.paired == 250
    assert c.facts == ()
    tested = [change for change in c.changes if change.verdict != "not tested"]
    assert len(tested) == 9
    assert {change.verdict for change in tested} == {"equal"}


def test_a_real_gain_is_found_and_a_handful_of_flips_is_noise() -> None:
    found = by_name(compare(content(), better(60), draws=300))
    gain = found["fixed 36, accuracy"]
    assert gain.difference.value == pytest.approx(60 / 750)
    assert gain.verdict == "higher"
    assert by_name(compare(better(60), content(), draws=300))["fixed 36, accuracy"].verdict == "lower"
    assert found["fixed 576, accuracy"].verdict == "equal"
    one = by_name(compare(content(), better(1), draws=300))["fixed 36, accuracy"]
    assert one.verdict == "within noise"
    assert one.difference.low <= 0


def test_the_pairing_makes_intervals_narrow() -> None:
    gain = by_name(compare(content(), better(10), draws=300))["fixed 36, accuracy"].difference
    low, high = content()["fixed"]["36"]["accuracy_ci"]
    assert gain.high - gain.low < (high - low) / 2


def test_only_common_images_are_compared_and_that_is_said() -> None:
    half = copy.deepcopy(content())
    keep = slice(0, 100)
    sums = half["per_image"]
    for key in ("image", "questions"):
        sums[key] = sums[key][keep]
    for layer in ("score", "visual_tokens"):
        sums[layer] = {policy: values[keep] for policy, values in sums[layer].items()}
    half["n_images"] = 100
    c = compare(content(), half, draws=100)
    assert (c.paired, c.images) == (100, (250, 100))


@pytest.mark.parametrize("spent", [0, 1])
def test_a_change_from_nothing_has_no_share_and_is_not_tested(spent: int) -> None:
    free = copy.deepcopy(content())
    free["oracle"]["none_sufficient"]["smallest"]["visual_tokens"] = spent / 750
    free["per_image"]["visual_tokens"]["oracle"] = [spent, *[0] * 249]  # one image is not in every draw
    change = by_name(compare(free, content(), draws=100))["oracle, visual tokens"]
    assert change.verdict == "not tested"
    assert np.isnan(change.difference.value) == (spent == 0)
    json.dumps(comparison_json(compare(free, content(), draws=100)), allow_nan=False)


@pytest.mark.parametrize("why", ["split", "older", "other images"])
def test_reports_without_common_images_are_shown_untested(why: str) -> None:
    other = copy.deepcopy(content())
    if why == "split":
        other["split"] = "tune"
    elif why == "older":
        del other["per_image"]
    else:
        other["per_image"]["image"] = [f"x{i}" for i in range(250)]
    c = compare(content(), other, draws=100)
    assert c.paired == 0
    assert {change.verdict for change in c.changes} == {"not tested"}
    json.dumps(comparison_json(c), allow_nan=False)


def test_a_report_without_a_router_is_compared_in_the_rest() -> None:
    without = _with_sums(report(router=False))
    c = compare(content(), without, draws=100)
    assert not any(change.name.startswith("router, acc") for change in c.changes)
    assert ("router", report().provenance["bundle"]["version"], "–") in c.facts


def test_how_many_replicates_the_reachable_oracles_are_of_is_told() -> None:
    one, other = (json.loads(json.dumps(as_json(with_replicate(replicates=k)))) for k in (1, 2))
    c = compare(one, other)
    assert "reachable oracle, accuracy" in by_name(c)
    assert ("replicates", "2", "3") in c.facts
    assert ("replicates", "–", "2") in compare(content(), one).facts


def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(command)
    return made


def test_the_command_prints_markdown_or_json(tmp_path: Path) -> None:
    a = written(report(), tmp_path / "a")
    b = written(
        dataclasses.replace(report(), provenance={**report().provenance, "commit": "b" * 40}), tmp_path / "b"
    )
    done = CliRunner().invoke(app(), [str(a), str(b / "report.json"), "--draws", "100"])
    assert done.exit_code == 0, done.output
    assert "| fixed 36, accuracy |" in done.output
    assert "paired bootstrap over 250 images" in done.output
    assert "b" * 40 in done.output
    done = CliRunner().invoke(app(), [str(a), str(b), "--json", "--draws", "100"])
    assert json.loads(done.output)["paired_images"] == 250


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("{", "is not JSON"),
        ("[]", "no report of"),
        ('{"n": 1}', "has no 'n_images'"),
    ],
)
def test_what_is_no_report_is_one_line_and_an_exit_code(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "report.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ReportError, match=said):
        read_report(tmp_path if text is not None else file)
    done = CliRunner().invoke(app(), [str(file), str(file)])
    assert done.exit_code == 2
    assert "Traceback" not in done.output


def test_a_damaged_report_is_said_to_be_damaged() -> None:
    broken = copy.deepcopy(content())
    del broken["per_image"]["score"]
    with pytest.raises(ReportError, match="damaged"):
        compare(content(), broken)
