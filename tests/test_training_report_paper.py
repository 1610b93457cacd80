"""Results weighted to the paper's profiles, and the paper's figures stored with the project."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from tests.reporting import report
from training.report.analysis import analyse
from training.report.inputs import Inputs
from training.report.markdown import markdown
from training.report.page import html_page
from training.report.paper import BENCHMARKS, WEIGHTINGS, paper, profile
from training.report.rows import as_json
from training.report.write import make_report


def test_the_papers_figures_are_there_with_their_source() -> None:
    assert "2405.17430" in paper()["source"]
    textvqa = profile("TextVQA")
    assert textvqa.accuracy == pytest.approx({576: 0.6313, 144: 0.6261, 36: 0.5871, 9: 0.5197, 1: 0.3892})
    assert textvqa.oracle_accuracy == pytest.approx(0.7051)
    assert profile("POPE").accuracy[1] == pytest.approx(0.8338)


def test_every_benchmark_is_given_under_every_weighting_with_its_residual() -> None:
    got = json.loads(json.dumps(as_json(report()), allow_nan=False))["reweighted"]
    assert [(r["benchmark"], r["weighting"]) for r in got] == [(b, w) for b in BENCHMARKS for w in WEIGHTINGS]
    for r in got:
        for scale, value in r["paper"].items():
            assert r["residual"][scale] == pytest.approx(r["accuracy"][scale] - value)
        assert 1 <= r["effective_n"] <= 750
        assert r["cells"] == 6 if r["weighting"] == "family and kind" else 7 <= r["cells"] <= 9
        router = r["router"]
        best = r["accuracy"][str(r["best_fixed_scale"])]
        assert router["accuracy"]["value"] - router["versus_best_fixed"]["value"] == pytest.approx(best)
        assert router["accuracy"]["value"] <= r["oracle"]["accuracy"] + 1e-9


def test_the_weighted_router_is_the_routers_weighted_mean() -> None:
    r = report()
    assert r.operating is not None
    table = r.inputs.table
    pope = next(x for x in r.reweighted if (x.profile.name, x.weighting) == ("POPE", "family and zone"))
    assert pope.router is not None
    # A zone's weight follows from the weighted zones; all-wrong questions are nearly gone in POPE.
    assert pope.accuracy[1] > table.scores[:, 0].mean()
    assert pope.router.low <= pope.router.value <= pope.router.high
    assert abs(pope.worst) == max(map(abs, pope.residual.values()))


def test_page_and_markdown_show_the_paper_beside_the_weighted_data() -> None:
    for whole in (html_page(report(), []), markdown(report())):
        assert "TextVQA, the paper" in whole
        assert "POPE, by family and zone" in whole
        assert "62.6%" in whole
    assert "entropy balancing" in html_page(report(), [])
    assert "ChartQA, by family and kind" in markdown(report(router=False))


def test_another_ladder_is_not_compared_with_the_paper() -> None:
    r = report(router=False)
    table = r.inputs.table
    other = dataclasses.replace(table, scales=(2, 9, 36, 100, 500))
    inputs = Inputs(other, None, None, None, None, r.inputs.folders)
    shown = make_report(inputs, r.provenance, draws=100)
    assert shown.reweighted == ()
    assert "Weighted like the paper" not in html_page(shown, [])


def test_questions_that_are_all_alike_cannot_be_weighted_to_another_profile() -> None:
    r = report(router=False)
    table = dataclasses.replace(
        r.inputs.table, scores=np.zeros((750, 5)), families=np.full(750, ""), kinds=np.full(750, "")
    )
    inputs = Inputs(table, None, None, None, None, r.inputs.folders)
    shown = make_report(inputs, r.provenance, draws=100)
    for weighted in shown.reweighted:
        assert weighted.cells == 1
        assert weighted.worst == pytest.approx(-max(weighted.profile.accuracy.values()))
    assert analyse(inputs, shown.evaluation, r.provenance).reweighted == shown.reweighted
    json.dumps(as_json(shown), allow_nan=False)
