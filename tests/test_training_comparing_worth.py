"""What route inputs and labels are worth and cost: ablation, learning curve, charges."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from data.records import OutcomeTable
from m3_backbone.cost import Architecture
from tests.comparing import Noisy, compared, fitter
from tests.routing import outcomes
from training.candidates.avg_llava import avg_llava_routed
from training.candidates.base import Candidate, Examples
from training.candidates.budget import Budget
from training.candidates.cares import cares_routed
from training.candidates.frugalgpt import FrugalGPT
from training.candidates.lightgbm_per_scale import LightGBMPerScale
from training.candidates.lightgbm_shared import LightGBMShared
from training.candidates.lookup import Lookup
from training.candidates.vir import vir_routed
from training.comparing.ablation import ablation_jobs, without
from training.comparing.charges import backbone_width, charge_of, route_input_flops
from training.comparing.jobs import Job, subset
from training.comparing.learning_curve import FRACTIONS
from training.comparing.markdown import markdown
from training.comparing.page import html_page
from training.comparing.rows import as_json
from training.escalation.candidates import HybridCascade
from training.evaluation.pricing import labelling_flops, price
from training.fit import build_spec


def test_ablation_fits_without_each_group_and_says_what_that_changes(tmp_path: Path) -> None:
    small = LightGBMPerScale(
        groups=("grid_stats", "question"),
        grid=({"num_leaves": 7, "min_data_in_leaf": 20},),
        folds=2,
        rounds=20,
    )
    got = compared(tmp_path, small, ablate=True, seeds=1)
    assert {row.group for row in got.ablation} == {"grid_stats", "question"}
    assert [row.over.value for row in got.ablation] == sorted(row.over.value for row in got.ablation)
    assert "without question" in html_page(got)
    assert "Without a group" in markdown(got)
    assert {row["without"] for row in as_json(got)["ablation"]} == {"grid_stats", "question"}


def test_a_candidate_without_groups_to_switch_off_is_refused() -> None:
    with pytest.raises(ValueError, match="lookup has no groups of features to switch off"):
        ablation_jobs(Lookup(), range(2))
    assert without(LightGBMPerScale(), "pooled").groups == tuple(
        group for group in LightGBMPerScale().groups if group != "pooled"
    )


def test_the_learning_curve_has_fewer_pairs_and_fewer_gpu_hours(tmp_path: Path) -> None:
    noisy = Noisy()
    got = compared(tmp_path, noisy, learning=True)
    assert [row.fraction for row in got.learning] == list(FRACTIONS)
    assert [row.images for row in got.learning] == [4, 8, 15, 30, 60]
    assert [row.pairs for row in got.learning] == [16, 32, 60, 120, 240]
    hours = [row.gpu_hours for row in got.learning]
    assert hours[-1] == pytest.approx(4 * hours[2])
    assert got.learning[-1].over.value == 0
    assert len(noisy.fitted) == 2 * len(FRACTIONS)  # all labels are not fitted twice
    assert "GPU-hours" in html_page(got)
    assert len(as_json(got)["learning_curve"]) == len(FRACTIONS)


def test_a_smaller_fraction_of_the_images_is_a_part_of_a_larger_one() -> None:
    table = outcomes(40)
    rows = np.arange(len(table))
    some, more = subset(table, rows, 0.1, 3), subset(table, rows, 0.5, 3)
    assert set(some) < set(more)
    assert len(np.unique(table.image_index[more])) == 20
    assert len(more) == 80
    assert set(subset(table, rows, 0.5, 4)) != set(more)
    np.testing.assert_array_equal(subset(table, rows, 1.0, 3), rows)


def labelled_by_hand(table: OutcomeTable) -> float:
    shape, total = Architecture.llava_7b(), 0.0
    for image in np.unique(table.image_index):
        total += shape.tower_flops(1)
        for row in np.flatnonzero(table.image_index == image):
            total += float(price(table, shape)[row].sum()) - 5 * shape.tower_flops(1)
    return total


def test_labels_cost_one_encoding_per_image_and_an_answer_per_scale() -> None:
    table = outcomes(3)
    assert labelling_flops(table, Architecture.llava_7b()) == pytest.approx(labelled_by_hand(table))


def test_routing_is_charged_for_the_groups_it_reads_and_for_its_trees() -> None:
    assert route_input_flops(("length", "words", "image"), (1, 9), 8, 5.0) == 0
    grid = route_input_flops(("grid_stats",), (1, 9, 36, 144, 576), 4096, 10.0)
    with_question = route_input_flops(("grid_stats", "interaction"), (1, 9, 36, 144, 576), 4096, 10.0)
    assert with_question - grid == pytest.approx(4096 * (30 + 20 * 766))
    train = outcomes(40)
    candidate = LightGBMPerScale(
        groups=("question",), grid=({"num_leaves": 4, "min_data_in_leaf": 20},), folds=2, rounds=5
    )
    fitted = candidate.fit(Examples.of(train, build_spec(train, candidate.groups)), seed=0, threads=1)
    assert 5 <= fitted.charge["flops"] <= 5 * 5 * 4
    own = charge_of(fitted.charge, ("length",), train)
    assert own == fitted.charge
    asked = charge_of({}, ("question",), train)
    assert asked["flops"] == asked["flops_7b"] > 0  # the width of another backbone than m3-tiny is 7B's
    assert charge_of(fitted.charge, ("question",), train)["flops"] == own["flops"] + asked["flops"]
    assert charge_of({}, ("length",), train) == {"flops": 0.0, "flops_7b": 0.0}


def test_every_candidate_that_learns_is_charged_for_its_own_work(tmp_path: Path) -> None:
    trees = {"grid": ({"num_leaves": 4, "min_data_in_leaf": 20},), "folds": 2, "rounds": 5}
    networks = Budget(grid=({"learning_rate": 1e-2, "weight_decay": 0.1},), folds=2, epochs=1)
    first, second = LightGBMPerScale(**trees), LightGBMShared(**trees)  # type: ignore[arg-type]
    candidates: list[Candidate] = [
        HybridCascade(first=first, second=second),
        FrugalGPT(**trees),  # type: ignore[arg-type]
        dataclasses.replace(vir_routed(), budget=networks),
        dataclasses.replace(cares_routed(), budget=networks),
        dataclasses.replace(avg_llava_routed(), budget=networks),
    ]
    fits = fitter(tmp_path)
    table = fits.tables.table
    for candidate in candidates:
        (fit,) = fits.run([Job(candidate, 0)], lambda line: None)
        inputs = charge_of({}, candidate.groups, table)
        for path in (fit.path, fit.tune_path):
            assert path.charge["flops"] > inputs["flops"], candidate.name
        assert fit.about.seconds > 0


def test_the_width_of_the_embedded_backbone_is_read_and_of_others_that_of_7b_is_taken() -> None:
    table = outcomes(2)
    assert backbone_width(table) == 4096
    tiny = dataclasses.replace(table, manifest={**table.manifest, "backbone": "tiny"})
    assert 0 < backbone_width(tiny) < 4096
