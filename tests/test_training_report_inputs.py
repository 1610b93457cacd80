"""What a report reads: the tables of a folder, a router held to its backbone, a test split kept closed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from data.joining import concat
from data.reading import SHIPPED_OUTCOMES
from data.records import RecordError, write_outcomes
from router.errors import BundleError, BundleMismatch
from tests.reporting import LADDER, make_table, world
from training.report.inputs import contenders, load_inputs


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
    assert router.charge["flops_7b"] >= router.charge["flops"] > 0.0


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
    with pytest.raises(RecordError, match="`make table-backbone-val`"):
        load_inputs(SHIPPED_OUTCOMES, None, "backbone-val")


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


def test_neighbours_of_another_prompt_are_left_out(tmp_path: Path) -> None:
    write_outcomes(tmp_path / "dev", make_table("dev", 5, 3))
    train = make_table("router-train", 5, 4)
    write_outcomes(tmp_path / "router-train", replace(train, manifest={**train.manifest, "prompt": "other"}))
    assert load_inputs(tmp_path, None).train is None


@pytest.mark.parametrize("place", ["tune", "router-train", "dev"])
def test_a_table_in_the_folder_of_another_split_is_refused(tmp_path: Path, place: str) -> None:
    write_outcomes(tmp_path / "dev", make_table("dev", 5, 3))
    write_outcomes(tmp_path / place, make_table("certify", 5, 4))
    with pytest.raises(RecordError, match=f"{place} holds the split 'certify', not '{place}'"):
        load_inputs(tmp_path, None)


def test_a_table_joined_with_the_test_split_stays_closed(tmp_path: Path) -> None:
    both = concat([make_table("dev", 5, 3), make_table("test", 5, 4)])
    write_outcomes(tmp_path, both)
    with pytest.raises(RecordError, match=r"'dev\+test'.*--final only"):
        load_inputs(tmp_path, None)


def test_a_neighbour_that_shares_images_with_the_table_is_refused(tmp_path: Path) -> None:
    dev = make_table("dev", 5, 3)
    write_outcomes(tmp_path / "dev", dev)
    write_outcomes(
        tmp_path / "router-train", replace(dev, manifest={**dev.manifest, "split": "router-train"})
    )
    with pytest.raises(RecordError, match=r"shares 5 images .* 'dev-0' first"):
        load_inputs(tmp_path, None)


def test_every_setting_of_the_router_is_charged_its_own_flops(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"flops": 500.0, "flops_7b": 700.0}
    monkeypatch.setattr("training.report.inputs.own_flops", lambda router, table: (own, 100.0))
    router, _ = contenders(load_inputs(world() / "outcomes", world() / "bundle"))
    assert [dict(s.charge) for s in router.extra] == [own] * 2
    assert router.charge == own
