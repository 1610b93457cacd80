"""The published schema of report.json: it is committed, and every kind of report keeps to it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from data.validation import PER_SCALE
from tests.reporting import changed, make_table, report
from tests.test_training_report_certified import made
from tests.test_training_report_peers import with_peers
from tests.test_training_report_replicates import with_replicate
from training.report.inputs import Inputs
from training.report.paired import per_image
from training.report.rows import as_json
from training.report.schema import ReportJson, schema
from training.report.write import make_report

PUBLISHED = Path(__file__).parent.parent / "docs" / "report.schema.json"


def content(r: Any) -> dict[str, Any]:
    """report.json as a reader gets it."""
    got: dict[str, Any] = json.loads(json.dumps({**as_json(r), "per_image": per_image(r)}, allow_nan=False))
    return got


def test_the_committed_schema_is_that_of_the_code() -> None:
    assert json.loads(PUBLISHED.read_text()) == schema(), (
        "run: python -m training.report.schema > docs/report.schema.json"
    )
    assert schema()["$schema"].endswith("2020-12/schema")


def test_every_kind_of_report_keeps_to_it(tmp_path: Path) -> None:
    shift = dataclasses.replace(report().inputs, shifts=(make_table("shift-a", 20, 5),))
    datasets = np.array(["one", "two", "three"] * 250)
    yes_no = {"references": (("yes",),) * 750, "metrics": np.full(750, "pope_llava")}
    for r in (
        report(),
        report(router=False),
        with_replicate(),
        made(),
        with_peers(tmp_path),
        make_report(shift, report().provenance, draws=100),
        changed(datasets=datasets),
        changed(answers=np.full((750, 5), "yes"), **yes_no),
        changed(scores=np.zeros((750, 5))),
    ):
        ReportJson.model_validate(content(r), strict=True)


def test_a_ladder_of_one_scale_keeps_to_it() -> None:
    table = report(router=False).inputs.table
    one = {name: getattr(table, name)[:, -1:] for name in PER_SCALE}
    alone = dataclasses.replace(table, scales=(576,), **one)
    inputs = Inputs(alone, None, None, None, None, report().inputs.folders)
    ReportJson.model_validate(content(make_report(inputs, report().provenance, draws=100)), strict=True)


@pytest.mark.parametrize(
    "change",
    [
        {"n": "750"},
        {"format_version": 1},
        {"oracle_kind": "real"},
        {"fixed": {"nine": {}}},
        {"unknown": 1},
        {"policies": [{"name": "router"}]},
        {"confusion": [[0.5]]},
    ],
)
def test_what_does_not_keep_to_it_is_found(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ReportJson.model_validate({**content(report()), **change}, strict=True)


def test_data_sets_of_a_joined_table_are_reported_one_by_one() -> None:
    from training.report.markdown import markdown
    from training.report.page import html_page

    names = np.array(["textvqa", "pope", "chartqa"] * 250)
    r = changed(datasets=names)
    got = as_json(r)["datasets"]
    assert [d["name"] for d in got] == ["chartqa", "pope", "textvqa"]
    table = r.inputs.table
    for d in got:
        assert d["n"] == 250
        assert d["accuracy"]["36"] == pytest.approx(table.scores[names == d["name"], 2].mean())
    page, text = html_page(r, []), markdown(r)
    assert "<h2>Data sets</h2>" in page
    assert "Smallest sufficient scale by data set." in page
    assert "## Data sets" in text
    assert "| chartqa | 250 |" in text
    assert "Data sets" not in html_page(report(), [])
