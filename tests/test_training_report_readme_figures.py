"""The README's figures out of a report and of folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.reporting import report, world
from training.report.readme import ReadmeError
from training.report.readme_figures import (
    away,
    families,
    megabytes,
    parameters,
    policies,
    read_report,
    sizes,
    verdict,
)
from training.report.rows import as_json
from training.report.write import write_report


def plain(**changes: Any) -> dict[str, Any]:
    """The report as its JSON has it, with top-level keys exchanged."""
    found: dict[str, Any] = json.loads(json.dumps(as_json(report())))
    return {**found, **changes}


def estimate(value: float, low: float, high: float) -> dict[str, Any]:
    return {"value": value, "ci": [low, high]}


def said(lost: dict[str, Any], hull: dict[str, Any], lookup: dict[str, Any] | None) -> str:
    """The verdict on a router with these differences, in score."""
    router = {
        "visual_tokens": 23.71,
        "accuracy": 0.6014,
        "versus_best_fixed": lost,
        "saved": {"visual_tokens": estimate(0.835, 0.826, 0.844)},
        "gain_at_equal_tokens": {"fixed hull": hull, **({} if lookup is None else {"lookup": lookup})},
    }
    return verdict({"best_fixed_scale": 144, "fixed": {"144": {"accuracy": 0.6052}}}, router)


GAIN, NOISE, LOSS = (
    estimate(0.009, 0.003, 0.014),
    estimate(-0.003, -0.009, 0.003),
    estimate(-0.01, -0.02, -0.001),
)


def test_the_verdict_follows_from_the_signs_of_the_intervals() -> None:
    text = said(NOISE, GAIN, LOSS)
    assert "23.7 visual tokens on a question, 83.5% fewer (82.6% to 84.4%) than scale 144" in text
    assert "60.1% instead of 60.5%: −0.3 points (−0.9 to +0.3), within noise." in text
    assert "it is better than fixed scales mixed at random (+0.9 points, +0.3 to +1.4)" in text
    assert "and worse than a lookup by family and question kind (−1.0 points, −2.0 to −0.1)" in text


@pytest.mark.parametrize(
    ("difference", "change", "against"),
    [
        (GAIN, ", a gain.", "better than"),
        (NOISE, ", within noise.", "within noise of"),
        (LOSS, ", a loss.", "worse than"),
    ],
)
def test_each_sign_has_its_words(difference: dict[str, Any], change: str, against: str) -> None:
    text = said(difference, difference, None)
    assert change in text
    assert f"At equal tokens it is {against} fixed scales mixed at random" in text
    assert "lookup" not in text


def test_a_router_that_costs_more_is_not_said_to_save() -> None:
    of = plain()
    router = next(p for p in of["policies"] if p["name"] == "router" and p["role"] == "default")
    dearer = {**router, "saved": {"visual_tokens": estimate(-0.25, -0.3, -0.2)}}
    assert "25.0% more than scale" in verdict(of, dearer)


def test_families_have_every_scale_and_all_of_them_first() -> None:
    of = plain()
    lines = families(of).splitlines()
    assert lines[0].startswith(f"{of['n']} questions about {of['n_images']} pictures; to ")
    assert lines[2] == "| family | 1 | 9 | 36 | 144 | 576 |"
    cells = " | ".join(f"{of['fixed'][s]['accuracy']:.2f}" for s in ("1", "9", "36", "144", "576"))
    assert lines[4] == f"| all | {cells} |"
    assert [line.split(" | ")[0] for line in lines[5:]] == ["| scenes", "| tables", "| text"]


def test_the_policies_are_those_of_the_report_with_their_costs() -> None:
    of = plain()
    text = policies(of)
    rows = {
        line.split(" | ")[0].removeprefix("| "): line for line in text.splitlines() if line.startswith("| ")
    }
    assert list(rows)[:7] == ["policy", "---", *(f"fixed {s}" for s in (1, 9, 36, 144, 576))]
    router = next(p for p in of["policies"] if p["name"] == "router" and p["role"] == "default")
    assert f"| {100 * router['accuracy']:.1f}% (" in rows["**router**, default setting"]
    assert f" | {router['visual_tokens']:.1f} | " in rows["**router**, default setting"]
    assert "token budget 36" in rows
    assert "lookup, most accurate on tune" in rows
    assert list(rows)[-1] == "oracle, hopeless questions at the smallest"


def test_a_second_look_is_a_policy_of_its_own() -> None:
    of = plain()
    router = next(p for p in of["policies"] if p["name"] == "router" and p["role"] == "default")
    hybrid = {**router, "name": "hybrid", "accuracy": 0.987}
    text = policies({**of, "policies": [*of["policies"], hybrid]})
    assert "| **router with a second look**, default setting | 98.7% (" in text


def test_judged_shifted_splits_alone_are_told_at_the_default_and_as_certified() -> None:
    def shift(name: str, judged: bool, change: float, share: float, *keys: str) -> dict[str, Any]:
        found = {
            "versus_full": estimate(change, change, change),
            "share_of_full_tokens": estimate(share, share, share),
        }
        return {"split": f"shift-{name}", "judged": judged, "hybrid_certified": None} | dict.fromkeys(
            keys, found
        )

    def told(*keys: str) -> str:
        shifts = [
            shift("fonts", False, 0.5, 0.9, *keys),
            shift("jpeg", True, -0.011, 0.266, *keys),
            shift("aspect", True, -0.016, 0.291, *keys),
        ]
        text = away({"shifts": shifts, "fixed": {"1": {}, "576": {}}})
        assert text in " ".join(policies(plain(shifts=shifts)).split())
        return text

    certified = told("router_certified")
    assert "(`shift-jpeg`, `shift-aspect`; nothing was tuned on them), against scale 576:" in certified
    changes = "accuracy by −1.6 to −1.1 points with 26.6% to 29.1% of the tokens at"
    assert f"The router changes {changes} the one that is certified" in certified
    assert "second look" not in certified
    assert "default" not in certified
    both = told("router", "router_certified", "hybrid")
    assert f"The router changes {changes} its default setting, and by −1.6 to −1.1 points with" in both
    assert f"The one with a second look changes {changes} its default setting. That was" in both
    assert told() == "" == away({"shifts": [], "fixed": {}})


def test_a_report_without_a_router_is_refused() -> None:
    of: dict[str, Any] = json.loads(json.dumps(as_json(report(router=False))))
    with pytest.raises(ReadmeError, match="no router"):
        policies(of)


def test_a_report_is_read_that_is_of_these_outcomes_and_this_bundle(tmp_path: Path) -> None:
    write_report(report(), tmp_path, examples=0)
    found = read_report(tmp_path / "report.json", world() / "outcomes", world() / "bundle")
    assert found["n"] == len(report().inputs.table)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda of: of["provenance"]["outcomes"]["tune"].update(manifest_sha256="0" * 64),
            "outcomes of 'tune'",
        ),
        (lambda of: of["provenance"]["bundle"].update(onnx_sha256="0" * 64), "another router"),
        (lambda of: of["provenance"].update(bundle=None), "another router"),
    ],
)
def test_a_report_of_something_else_is_refused_with_the_remedy(
    tmp_path: Path, change: Any, said: str
) -> None:
    of = plain()
    change(of)
    (tmp_path / "report.json").write_text(json.dumps(of), encoding="utf-8")
    with pytest.raises(ReadmeError, match=f"{said}.*m3-train report"):
        read_report(tmp_path / "report.json", world() / "outcomes", world() / "bundle")


def test_a_report_that_is_not_there_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ReadmeError, match="There is no report"):
        read_report(tmp_path / "report.json", world() / "outcomes", world() / "bundle")


def test_sizes_are_of_what_is_in_the_folders(tmp_path: Path) -> None:
    (tmp_path / "tower").mkdir()
    save_file(
        {"a": np.zeros((300, 1000), np.float32), "b": np.zeros(5, np.float16)}, tmp_path / "model.safetensors"
    )
    save_file({"c": np.zeros((2, 100_000), np.float16)}, tmp_path / "tower" / "model.safetensors")
    assert parameters(tmp_path) == 500_005
    (tmp_path / ".hidden").write_bytes(bytes(10**6))
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.pyc").write_bytes(bytes(10**6))
    assert megabytes(tmp_path) == "1.6"
    text = sizes(tmp_path, world() / "bundle", world() / "outcomes")
    assert "| m3-tiny: 0.5 M parameters | 1.6 |" in text
    assert "its router: `lightgbm_per_scale`" in text
    assert f"{3 * (250 + 250):,} questions, each at 5 scales" in text  # tune and dev: a clone has no others
    for kept in ("shards/00000/part", "run.json"):
        (tmp_path / kept).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / kept).write_bytes(bytes(10**6))
    assert megabytes(tmp_path, tmp_path / "tower") == "2.0"


def test_a_table_that_a_clone_comes_without_is_not_asked_for(tmp_path: Path) -> None:
    outcomes = tmp_path / "outcomes"
    shutil.copytree(world() / "outcomes", outcomes)
    (outcomes / "router-train" / "manifest.json").unlink()  # as while it is made
    write_report(report(), tmp_path, examples=0)
    read = read_report(tmp_path / "report.json", outcomes, world() / "bundle")
    assert "router-train" in read["provenance"]["outcomes"]
    shutil.rmtree(outcomes / "tune")
    with pytest.raises(ReadmeError, match=r"no table .*tune: make it with `m3-train label`"):
        read_report(tmp_path / "report.json", outcomes, world() / "bundle")
