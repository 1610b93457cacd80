"""What a report reads: the tables of a folder, a router held to its backbone, a test split kept closed."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.records import RecordError, write_outcomes
from router.errors import BundleError, BundleMismatch
from tests.reporting import LADDER, make_table, world
from training.report.inputs import contenders, load_inputs, router_flops


def test_a_folder_of_splits_gives_the_split_asked_for_with_its_helpers() -> None:
    inputs = load_inputs(world() / "outcomes", world() / "bundle")
    assert inputs.split == "dev"
    assert inputs.tune is not None
    assert inputs.train is not None
    assert set(inputs.folders) == {"dev", "tune", "router-train"}
    assert inputs.predictions is not None
    assert inputs.predictions.sufficient.shape == (750, 5)


def test_the_folder_of_one_table_finds_its_neighbours() -> None:
    inputs = load_inputs(world() / "outcomes" / "dev", None)
    assert inputs.split == "dev"
    assert inputs.train is not None
    assert [c.name for c in contenders(inputs)] == ["lookup"]


def test_the_router_competes_with_its_default_price_and_its_budgets() -> None:
    inputs = load_inputs(world() / "outcomes", world() / "bundle")
    router, lookup = contenders(inputs)
    assert (router.name, lookup.name) == ("router", "lookup")
    assert inputs.router is not None
    assert router.extra[0].targets == (inputs.router.bundle.prices.default,)
    assert router.extra[1].name == "token_budget"
    assert set(router.extra[1].targets) <= {9.0, 36.0, 72.0, 144.0, 288.0}
    assert router_flops(inputs.router) >= 0.0


def test_a_replayed_choice_is_what_the_router_answers_to_one_request() -> None:
    inputs = load_inputs(world() / "outcomes", world() / "bundle")
    assert inputs.router is not None
    router, _ = contenders(inputs)
    chosen = router.extra[0].choices[0]
    for i in range(0, 750, 50):
        decision = inputs.router.route(inputs.table.route_inputs(i))
        assert decision.scale == LADDER[chosen[i]]


@pytest.mark.parametrize("how", ["split", "folder"])
def test_the_test_split_stays_closed_without_final(how: str) -> None:
    home = world() / "outcomes"
    with pytest.raises(RecordError, match="--final"):
        load_inputs(home if how == "split" else home / "test", None, "test" if how == "split" else "dev")


def test_final_opens_the_test_split_alone() -> None:
    assert load_inputs(world() / "outcomes", None, "test", final=True).split == "test"
    with pytest.raises(RecordError, match="--final opens the split 'test'"):
        load_inputs(world() / "outcomes" / "dev", None, "test", final=True)


def test_a_missing_split_names_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="splits there: dev, router-train, test, tune"):
        load_inputs(world() / "outcomes", None, "certify")
    with pytest.raises(RecordError, match="m3-train label"):
        load_inputs(tmp_path, None)


def test_a_bundle_of_another_backbone_is_refused(tmp_path: Path) -> None:
    write_outcomes(tmp_path / "dev", make_table("dev", 5, 3, fingerprint="another"))
    with pytest.raises(BundleMismatch, match="another"):
        load_inputs(tmp_path, world() / "bundle")
    with pytest.raises(BundleError, match="m3-train fit"):
        load_inputs(world() / "outcomes", tmp_path / "nowhere")


def test_neighbours_of_another_backbone_are_left_out(tmp_path: Path) -> None:
    write_outcomes(tmp_path / "dev", make_table("dev", 5, 3))
    write_outcomes(tmp_path / "router-train", make_table("router-train", 5, 4, fingerprint="another"))
    inputs = load_inputs(tmp_path, None)
    assert inputs.train is None
    assert contenders(inputs) == ()
