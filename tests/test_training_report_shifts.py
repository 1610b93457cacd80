"""Shifted splits: reported on like any other, and several of them in one table beside the report's own."""

from __future__ import annotations

import dataclasses
import functools
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest

from data.records import OutcomeTable, RecordError, write_outcomes
from router.policy import Constraints
from tests.reporting import LADDER, make_table, report, world
from training.evaluation.comparison import Estimate
from training.report.analysis import Report
from training.report.data_tables import shifted_policies
from training.report.inputs import load_inputs
from training.report.markdown import markdown
from training.report.page import html_page
from training.report.rows import as_json
from training.report.shifted import Routed
from training.report.shifts import read_shifts
from training.report.write import make_report


def shifted(name: str, n_images: int, seed: int) -> OutcomeTable:
    """Pictures finer than any of training's."""
    table = make_table(name, n_images, seed)
    finer = (table.grid_stats + np.array([9.0, 0.0])).astype(np.float16)  # as tables are stored
    return dataclasses.replace(table, grid_stats=finer.astype(np.float32))


@functools.cache
def shifts() -> Path:
    home = Path(tempfile.mkdtemp(prefix="m3-shifts-"))
    write_outcomes(home / "shift-fonts", shifted("shift-fonts", 40, 5))
    write_outcomes(home / "shift-layouts", make_table("shift-layouts", 30, 6))
    return home


@functools.cache
def with_shifts(*, router: bool = True) -> Report:
    inputs = load_inputs(world() / "outcomes", world() / "bundle" if router else None, shifts=[shifts()])
    return make_report(inputs, report().provenance, draws=100)


def test_a_shifted_split_is_reported_on_like_any_other(tmp_path: Path) -> None:
    write_outcomes(tmp_path / "shift-fonts", make_table("shift-fonts", 20, 5))
    inputs = load_inputs(tmp_path, world() / "bundle", "shift-fonts")
    got = as_json(make_report(inputs, report().provenance, draws=100))
    assert (got["split"], got["n"]) == ("shift-fonts", 60)
    assert got["shifts"] == []


def test_a_folder_gives_all_its_shifted_splits_and_a_table_itself() -> None:
    table = make_table("dev", 3, 1)
    assert list(read_shifts([shifts()], table)) == ["shift-fonts", "shift-layouts"]
    both = read_shifts([shifts() / "shift-layouts", shifts() / "shift-fonts"], table)
    assert list(both) == ["shift-layouts", "shift-fonts"]


def test_replicates_and_the_split_reported_on_are_not_taken_from_a_folder(tmp_path: Path) -> None:
    for name in ("shift-a", "shift-a+1", "shift-a+2", "shift-b"):
        write_outcomes(tmp_path / name, make_table(name, 3, 1))
    assert list(read_shifts([tmp_path], make_table("shift-b", 3, 1))) == ["shift-a"]


def test_what_cannot_stand_beside_the_table_is_refused(tmp_path: Path) -> None:
    dev = make_table("dev", 3, 1)
    with pytest.raises(RecordError, match=r"no outcome table and holds none named .*`make tables`"):
        read_shifts([tmp_path], dev)
    write_outcomes(tmp_path / "other", make_table("shift-a", 3, 1, fingerprint="another"))
    with pytest.raises(RecordError, match="backbone_fingerprint 'another'"):
        read_shifts([tmp_path / "other"], dev)
    with pytest.raises(RecordError, match="'shift-fonts' is given twice"):
        read_shifts([shifts(), shifts() / "shift-fonts"], dev)
    write_outcomes(tmp_path / "test", make_table("test", 3, 1))
    with pytest.raises(RecordError, match="--final only"):
        read_shifts([tmp_path / "test"], dev)


def test_every_split_has_fixed_scales_and_the_router_as_served() -> None:
    r = with_shifts()
    got = json.loads(json.dumps(as_json(r), allow_nan=False))
    assert [s["split"] for s in got["shifts"]] == ["dev", "shift-fonts", "shift-layouts"]
    home = got["shifts"][0]
    assert home["router"]["accuracy"]["value"] == pytest.approx(got["operating_point"]["accuracy"])
    assert home["router"]["visual_tokens"]["value"] == pytest.approx(got["operating_point"]["visual_tokens"])
    router, table = r.inputs.router, r.inputs.shifts[0]
    assert router is not None
    assert r.operating is not None
    for i in range(0, len(table), 40):
        decision = router.route(table.route_inputs(i), Constraints(price=r.operating.target))
        assert decision.scale in LADDER
    fonts = got["shifts"][1]
    for s, scale in enumerate(LADDER):
        assert fonts["fixed"][str(scale)]["accuracy"] == pytest.approx(table.scores[:, s].mean())
    versus = fonts["router"]["versus_full"]
    assert versus["value"] == pytest.approx(fonts["router"]["accuracy"]["value"] - table.scores[:, -1].mean())
    assert versus["ci"][0] <= versus["value"] <= versus["ci"][1]
    assert fonts["router"]["share_of_full_tokens"]["value"] == pytest.approx(
        fonts["router"]["visual_tokens"]["value"] / 576
    )
    assert fonts["router"]["novel"] >= home["router"]["novel"]


def test_page_and_markdown_have_a_table_of_shifts_only_where_there_are_some() -> None:
    for whole in (html_page(with_shifts(), []), markdown(with_shifts()), markdown(with_shifts(router=False))):
        assert "shift-layouts" in whole
        assert "the first is the one reported on" in whole
    assert "the first is the one reported on" not in markdown(report())


def estimate(value: float, half: float) -> Estimate:
    return Estimate(value, value - half, value + half)


def routed(versus: float, share: float, half: float = 0.0) -> Routed:
    return Routed(
        estimate(0.8, half), estimate(576 * share, half), estimate(versus, half), estimate(share, half)
    )


@pytest.mark.parametrize(
    ("found", "good", "clear"),
    [
        (routed(-0.02, 0.5), True, True),
        (routed(-0.01, 0.4, 0.005), True, True),
        (routed(-0.01, 0.4, 0.02), True, False),
        (routed(-0.021, 0.4), False, True),
        (routed(-0.021, 0.4, 0.002), False, False),
        (routed(0.1, 0.51), False, True),
        (routed(0.1, 0.51, 0.02), False, False),
    ],
)
def test_good_enough_is_within_two_points_at_no_more_than_half_the_tokens(
    found: Routed, good: bool, clear: bool
) -> None:
    assert (found.good, found.clear) == (good, clear)


def test_only_splits_on_which_nothing_may_be_tuned_are_judged() -> None:
    r = with_shifts()
    assert [shift.judged for shift in r.shifts] == [False, False, True]
    got = as_json(r)["shifts"]
    assert [shift["router"]["good"] is None for shift in got] == [True, True, False]
    (layouts,) = (shift.routed["router"] for shift in r.shifts if shift.judged)
    said = f"the router on {int(layouts.good)} of 1 ("
    for whole in (html_page(r, []), markdown(r)):
        assert said in whole
        assert "This is empirical: no certificate speaks of these splits." in whole
    rows = shifted_policies(r).rows
    assert [str(row[-1]) for row in rows][:2] == ["–", "–"]
    assert str(rows[2][-1]).split()[0] == ("yes" if layouts.good else "no")
    assert "no certificate speaks" not in markdown(with_shifts(router=False))


def test_tables_of_shifts_are_in_the_provenance() -> None:
    assert {"shift-fonts", "shift-layouts"} <= set(with_shifts().inputs.folders)
