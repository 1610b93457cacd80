"""The hybrid in a report: replayed as it would be served, all its passes charged, drawn and told."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m3_backbone.cost import Architecture
from router.cascade import CONFIDENCE
from router.certificates import Certificate, Certificates, Setting
from router.constraints import Constraints, LossName
from router.router import Router
from tests.cascading import quick_hybrid, telling
from tests.reporting import DRAWS
from training.evaluation.pricing import encoding_flops, price
from training.fit import fit
from training.report.analysis import Report
from training.report.inputs import Inputs, predict
from training.report.markdown import markdown
from training.report.own_cost import graph_flops, own_flops
from training.report.page import html_page
from training.report.paired import per_image
from training.report.rows import as_json
from training.report.schema import ReportJson
from training.report.write import make_report

PROVENANCE: dict[str, Any] = {
    "command": "m3-train report",
    "created": "",
    "commit": None,
    "uncommitted_changes": False,
    "backbone": "made",
    "backbone_fingerprint": "made",
    "outcomes": {},
    "bundle": None,
    "seeds": {"bootstrap": 0},
    "bootstrap_draws": DRAWS,
    "python": "3",
    "versions": {},
}


@functools.cache
def inputs() -> Inputs:
    train, tune, dev = telling(200), telling(100, split="tune"), telling(100, split="dev")
    bundle = fit(train, tune, quick_hybrid().first, threads=1, escalation=True).bundle
    router = Router.of(bundle)
    return Inputs(dev, tune, train, router, predict(router, dev), {"dev": Path("dev")})


@functools.cache
def made() -> Report:
    return make_report(inputs(), PROVENANCE, draws=DRAWS)


def served(row: int) -> tuple[list[int], int]:
    """(scales before the last, the last one) of one request, as the router itself goes on."""
    router, table = inputs().router, inputs().table
    assert router is not None
    asked, request = Constraints(cascade=True), table.route_inputs(row)
    tried: list[int] = []
    decision = router.route(request, asked)
    while True:
        at = table.scales.index(decision.scale)
        answer = {name: getattr(table, name)[row, at] for name in CONFIDENCE}
        then = router.reconsider(decision, _Answer(**answer), request, asked, tried)  # type: ignore[arg-type]
        if then.scale == decision.scale:
            return tried, decision.scale
        tried.append(decision.scale)
        decision = then


@dataclasses.dataclass(frozen=True)
class _Answer:
    """What the second look reads of an answer."""

    mean_logprob: float
    min_logprob: float
    first_margin: float
    answer_tokens: int

    @property
    def token_ids(self) -> tuple[int, ...]:
        return (0,) * int(self.answer_tokens)


def test_the_default_setting_does_what_serving_does_and_pays_for_every_pass() -> None:
    result, table = made().evaluation.result("hybrid", "default"), inputs().table
    assert result is not None
    rows = range(0, len(table), 7)
    passes = {row: served(row) for row in rows}
    assert any(tried for tried, _ in passes.values())
    assert [table.scales[result.choice[row]] for row in rows] == [last for _, last in passes.values()]
    whole = [served(row) for row in range(len(table))]
    at = {scale: s for s, scale in enumerate(table.scales)}
    tokens = [
        sum(table.visual_tokens[row, at[scale]] for scale in (*tried, last))
        for row, (tried, last) in enumerate(whole)
    ]
    assert result.cost["visual_tokens"].value == pytest.approx(np.mean(tokens))
    flops, once = price(table, Architecture.llava_7b()), encoding_flops(table, Architecture.llava_7b())
    router = inputs().router
    assert router is not None
    assert router.second_look is not None
    own = own_flops(router, table)[0]["flops_7b"] + 2 * graph_flops(router.second_look.escalation.onnx)
    spent = [
        flops[row, at[last]] + sum(flops[row, at[scale]] - once[row, 0] for scale in tried)
        for row, (tried, last) in enumerate(whole)
    ]
    assert result.cost["flops_7b"].value == pytest.approx(np.mean(spent) + own)


def test_the_hybrid_is_a_curve_like_the_others() -> None:
    e = made().evaluation
    assert list(e.curves) == ["fixed hull", "router", "lookup", "hybrid"]
    assert set(e.curves["hybrid"].measured.cost) == {"visual_tokens", "flops", "flops_7b", "ms_7b"}
    assert {p.role for p in e.policies if p.name == "hybrid"} >= {"default", "frontier", "accurate"}
    default = e.result("hybrid", "default")
    assert default is not None
    assert set(default.gain_over) == {"fixed hull", "router", "lookup"}
    # Answers tell a lot in this world: thinking again is worth more than predicting alone.
    assert default.gain_over["router"].low > 0
    assert all("hybrid" in row.gain for row in e.levels)
    assert [m.name for m in made().field] == list(e.curves)


def test_page_markdown_and_json_have_it() -> None:
    page, text = html_page(made(), []), markdown(made())
    for whole in (page, text):
        assert "With a second look at its answers (the hybrid, every pass charged) it reaches" in whole
        assert "hybrid, default" in whole
    assert page.count(">hybrid<") >= 4  # a legend in every picture of cost, and tables
    assert "Hybrid: from" in page
    got = json.loads(json.dumps(as_json(made()), allow_nan=False))
    assert any(p["name"] == "hybrid" and p["role"] == "default" for p in got["policies"])
    assert "hybrid" in got["mean_gain"]["over"]


def test_without_confidences_or_a_second_look_there_is_no_hybrid() -> None:
    known = inputs()
    assert known.router is not None
    table = dataclasses.replace(known.table, manifest={**known.table.manifest, "confidences": "none"})
    alone = Router.of(dataclasses.replace(known.router.bundle, escalation=None))
    for changed in (
        dataclasses.replace(known, table=table),
        dataclasses.replace(known, router=alone),
    ):
        r = make_report(changed, PROVENANCE, draws=100)
        assert "hybrid" not in r.evaluation.curves
        assert "second look" not in markdown(r)


def promised(loss: LossName = "net", epsilon: float = 0.01) -> Router:
    """The router with one certificate of its cascade, at the setting that is its default."""
    router = inputs().router
    assert router is not None
    assert router.second_look is not None
    escalation = router.second_look.escalation
    promise = Certificate(
        loss=loss,
        epsilon=epsilon,
        delta=0.05,
        n_images=300,
        smallest_n=50,
        setting=Setting(escalation.prices.default, escalation.threshold),
        bound=0.009,
        visual_tokens=40.0,
    )
    alone = dataclasses.replace(promise, setting=Setting(0.001))
    certificates = Certificates(accuracy=(alone,), cascade=(promise,))
    return Router.of(dataclasses.replace(router.bundle, certificates=certificates))


def test_shifted_splits_have_the_hybrid_with_all_its_passes_as_it_is_served() -> None:
    shift = telling(60, split="shift-jpeg", seed=3)
    r = make_report(dataclasses.replace(inputs(), shifts=(shift,)), PROVENANCE, draws=DRAWS)
    home, away = r.shifts
    default = r.evaluation.result("hybrid", "default")
    assert default is not None
    assert home.routed["hybrid"].visual_tokens.value == pytest.approx(default.cost["visual_tokens"].value)
    assert home.routed["hybrid"].accuracy.value == pytest.approx(default.accuracy.value)
    assert list(away.routed) == ["router", "hybrid"]
    assert away.judged
    on_shift = dataclasses.replace(inputs(), table=shift, predictions=None)
    assert on_shift.router is not None
    at_shift = dataclasses.replace(on_shift, predictions=predict(on_shift.router, shift))
    alone = make_report(at_shift, PROVENANCE, draws=DRAWS).evaluation.result("hybrid", "default")
    assert alone is not None
    assert away.routed["hybrid"].visual_tokens.value == pytest.approx(alone.cost["visual_tokens"].value)
    (got,) = (s for s in as_json(r)["shifts"] if s["judged"])
    assert got["hybrid"]["good"] is away.routed["hybrid"].good
    ReportJson.model_validate(json.loads(json.dumps({**as_json(r), "per_image": per_image(r)})), strict=True)


def test_on_shifted_splits_what_is_certified_for_two_points_is_shown_beside_the_default() -> None:
    shift = telling(40, split="shift-jpeg", seed=3)
    shifted = dataclasses.replace(inputs(), router=promised(), shifts=(shift,))
    r = make_report(shifted, PROVENANCE, draws=100)
    policies = ["router", "hybrid", "router as certified", "hybrid as certified"]
    assert [list(row.routed) for row in r.shifts] == [policies, policies]
    asked = dataclasses.replace(shifted, asked=Constraints(accuracy_drop=0.02, loss="net"))
    for row, alone in zip(r.shifts, make_report(asked, PROVENANCE, draws=100).shifts, strict=True):
        assert list(alone.routed) == policies[:2]
        assert row.routed["router as certified"] == alone.routed["router"] != row.routed["router"]
        assert row.routed["hybrid as certified"] == alone.routed["hybrid"]
    (got,) = (s for s in as_json(r)["shifts"] if s["judged"])
    assert got["router_certified"]["good"] is r.shifts[1].routed["router as certified"].good
    assert as_json(make_report(asked, PROVENANCE, draws=100))["shifts"][1]["hybrid_certified"] is None
    ReportJson.model_validate(json.loads(json.dumps({**as_json(r), "per_image": per_image(r)})), strict=True)
    assert "the router as certified on" in markdown(r)
    assert "As certified: at the setting" in markdown(r)
    assert "As certified" not in markdown(make_report(asked, PROVENANCE, draws=100))


def test_on_shifted_splits_the_hybrid_is_at_what_is_certified_where_a_drop_was_asked_for() -> None:
    shift = telling(40, split="shift-jpeg", seed=3)
    manifest = {**shift.manifest, "split": "shift-blind", "confidences": "none"}
    blind = dataclasses.replace(shift, manifest=manifest)
    shifted = dataclasses.replace(inputs(), router=promised(), shifts=(shift, blind))
    by_default, asked = (
        make_report(dataclasses.replace(shifted, asked=drop), PROVENANCE, draws=100).shifts
        for drop in (None, Constraints(accuracy_drop=0.02, loss="net"))
    )
    assert asked[1].routed["hybrid"] == by_default[1].routed["hybrid"]  # the same setting
    assert "hybrid" not in asked[2].routed
    router = promised()
    bundle = dataclasses.replace(
        router.bundle, certificates=dataclasses.replace(router.bundle.certificates, cascade=())
    )
    none = dataclasses.replace(
        shifted, router=Router.of(bundle), asked=Constraints(accuracy_drop=0.02, loss="net")
    )
    assert "hybrid" not in make_report(none, PROVENANCE, draws=100).shifts[1].routed


def test_certificates_of_the_cascade_are_shown_with_all_its_passes() -> None:
    known, bundle = inputs(), promised().bundle
    bundle = dataclasses.replace(bundle, certificates=dataclasses.replace(bundle.certificates, accuracy=()))
    r = make_report(dataclasses.replace(known, router=Router.of(bundle)), PROVENANCE, draws=DRAWS)
    (shown,) = r.certified
    assert shown.cascade
    default = r.evaluation.result("hybrid", "default")  # the same setting
    assert default is not None
    assert shown.visual_tokens.value == pytest.approx(default.cost["visual_tokens"].value)
    text = markdown(r)
    assert "the hybrid's mean net loss of at most 1 point with" in text
    assert "| net ≤ 1, hybrid | 0.90 |" in text
    table = dataclasses.replace(known.table, manifest={**known.table.manifest, "confidences": "none"})
    blind = dataclasses.replace(known, router=Router.of(bundle), table=table)
    assert make_report(blind, PROVENANCE, draws=100).certified == ()
