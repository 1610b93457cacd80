"""Certificates in a report: what is promised, what came of it on this split, and a drop that is asked for."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any

import numpy as np
import pytest

from router.certificates import Certificate, Certificates, Setting
from router.constraints import Constraints
from router.router import Router
from tests.reporting import make_table, report, world
from training.report.analysis import Report
from training.report.certified import certified, covering
from training.report.inputs import Inputs, load_inputs
from training.report.markdown import markdown
from training.report.page import html_page
from training.report.rows import as_json
from training.report.write import make_report

PRICE = 1e-4


def certificate(loss: Any, epsilon: float, price: float | None, **more: Any) -> Certificate:
    fields = {
        "delta": 0.05,
        "n_images": 400,
        "smallest_n": 50,
        "bound": epsilon * 0.9,
        "visual_tokens": 200.0,
        "setting": None if price is None else Setting(price),
        **more,
    }
    return Certificate(loss=loss, epsilon=epsilon, **fields)


CERTIFICATES = Certificates(
    accuracy=(
        certificate("regret", 0.005, None),
        certificate("regret", 0.05, PRICE),
        certificate("regret", 0.05, PRICE, delta=0.01),
        certificate("net", 0.001, 1e-2),
        certificate("regret", 0.05, PRICE, group="text"),
    )
)


@functools.cache
def inputs(asked: Constraints | None = None) -> Inputs:
    known = report().inputs
    assert known.router is not None
    bundle = dataclasses.replace(known.router.bundle, certificates=CERTIFICATES)
    return dataclasses.replace(known, router=Router.of(bundle), asked=asked)


@functools.cache
def made(asked: Constraints | None = None) -> Report:
    return make_report(inputs(asked), report().provenance, draws=200)


def test_every_setting_is_measured_where_it_was_not_certified() -> None:
    regret, net = certified(inputs(), draws=200, seed=0)
    assert (regret.certificate.loss, regret.certificate.epsilon) == ("regret", 0.05)
    table, router, predictions = inputs().table, inputs().router, inputs().predictions
    assert router is not None
    assert predictions is not None
    choice = router.play(predictions, table.visual_tokens, Setting(PRICE))
    rows = np.arange(len(table))
    lost = np.maximum(table.scores[:, -1] - table.scores[rows, choice], 0)
    by_image = [lost[table.image_index == image].mean() for image in range(len(table.image_ids))]
    assert regret.loss.value == pytest.approx(np.mean(by_image))
    assert regret.loss.low <= regret.loss.value <= regret.loss.high
    spent = table.visual_tokens[rows, choice].mean()  # three questions about each image
    assert regret.visual_tokens.value == pytest.approx(spent)
    assert regret.saved.value == pytest.approx(1 - spent / 576)
    assert not regret.broken
    assert net.broken  # at that price far more is lost than the promised tenth of a point


def test_families_and_other_deltas_are_left_out() -> None:
    strict = certified(inputs(Constraints(accuracy_drop=0.05, delta=0.01)), draws=100, seed=0)
    assert [c.certificate.delta for c in strict] == [0.01]
    assert all(not c.certificate.group for c in certified(inputs(), draws=100, seed=0))
    assert certified(report().inputs, draws=100, seed=0) == ()


def test_a_default_that_is_one_of_the_certified_settings_is_said_to_be() -> None:
    default = made().operating
    assert default is not None
    known, router = inputs(), inputs().router
    assert router is not None
    at_default = tuple(
        certificate(loss, epsilon, default.target)
        for loss, epsilon in (("net", 0.02), ("net", 0.01), ("regret", 0.05))
    )
    promised = dataclasses.replace(CERTIFICATES, accuracy=(*at_default, *CERTIFICATES.accuracy))
    bundle = dataclasses.replace(router.bundle, certificates=promised)
    at = dataclasses.replace(known, router=Router.of(bundle))
    text = markdown(make_report(at, report().provenance, draws=100))
    least = "a mean net loss of at most 1 point and a mean regret of at most 5 points"
    assert f"The setting above is certified, too: {least}." in text


def test_the_page_says_what_is_promised_and_what_came_of_it() -> None:
    page, text = html_page(made(), []), markdown(made())
    for whole in (page, text):
        assert "Certified, each by itself: with probability 95% over the 400 images of certify" in whole
        assert "a mean regret of at most 5 points with" in whole
        assert "a mean net loss of at most 0.1 points with" in whole
        assert "The setting above is not one of those that were certified." in whole
        assert "1 lose more here than was promised" in whole
    got = json.loads(json.dumps(as_json(made()), allow_nan=False))["certified"]
    assert [(c["loss"], c["epsilon"], c["broken"]) for c in got] == [
        ("regret", 0.05, False),
        ("net", 0.001, True),
    ]
    plain = html_page(report(), [])
    assert "No accuracy drop of this router is certified: m3-train certify does that." in plain
    assert "What is certified" not in plain


def test_a_drop_that_is_asked_for_is_the_operating_point() -> None:
    asked = made(Constraints(accuracy_drop=0.07))
    point = asked.operating
    assert point is not None
    assert (point.role, point.target) == ("accuracy_drop", 0.05)  # the safer certificate
    table, router, predictions = asked.inputs.table, asked.inputs.router, asked.inputs.predictions
    assert router is not None
    assert predictions is not None
    expected = router.play(predictions, table.visual_tokens, Setting(PRICE))
    assert point.choice.tolist() == expected.tolist()
    assert point.saved.keys() == {"visual_tokens", "flops", "flops_7b", "ms_7b"}
    text = markdown(asked)
    assert "at the setting certified for a regret of 7 points" in text
    assert "Certified: with probability 95%" in text
    assert "for images like them, against scale 576 a mean regret of at most 5 points." in text
    assert "| **router, drop of 5 points** |" in text
    assert asked.confusion is not None
    assert asked.confusion.sum(axis=0).tolist() == np.bincount(expected, minlength=5).tolist()


def test_shifted_splits_are_routed_as_the_operating_point_is() -> None:
    shift = make_table("shift-a", 40, 5)
    with_shift = dataclasses.replace(inputs(Constraints(accuracy_drop=0.07)), shifts=(shift,))
    router = with_shift.router
    assert router is not None
    row = make_report(with_shift, report().provenance, draws=100).shifts[1]
    predictions = router.predict(router.bundle.features.matrix(shift))
    choice = router.play(predictions, shift.visual_tokens, Setting(PRICE))
    assert row.routed["router"].visual_tokens.value == pytest.approx(
        shift.visual_tokens[np.arange(120), choice].mean()
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            Constraints(accuracy_drop=0.001),
            r"no certificate that covers an accuracy drop of 0\.001 \(loss regret, .*It has: net 0\.001",
        ),
        (
            Constraints(accuracy_drop=0.01),
            r"Nothing cheaper than the full scale passed for an accuracy drop of 0.01 \(loss regret, ",
        ),
        (Constraints(accuracy_drop=0.05, delta=0.001), "no certificate that covers"),
    ],
)
def test_a_drop_without_a_certificate_is_refused(asked: Constraints, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        covering(CERTIFICATES, asked)


def test_a_drop_needs_a_router_with_certificates() -> None:
    asked = Constraints(accuracy_drop=0.05)
    with pytest.raises(ValueError, match="give its --bundle"):
        load_inputs(world() / "outcomes", None, asked=asked)
    with pytest.raises(ValueError, match="`m3-train certify` makes some"):
        load_inputs(world() / "outcomes", world() / "bundle", asked=asked)
