"""Fits that choose scales for the test split beforehand, none of whose scores is in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.records import RecordError, read_outcomes, write_outcomes
from tests.comparing import world
from training.candidates.attention import Attention, Sizes
from training.candidates.base import Candidate
from training.candidates.budget import Budget
from training.candidates.lightgbm_per_scale import LightGBMPerScale
from training.candidates.lightgbm_shared import LightGBMShared
from training.candidates.lookup import Lookup
from training.comparing import one_search
from training.comparing.fits import Fit, Fits
from training.comparing.fitting import Fitter
from training.comparing.jobs import Job
from training.comparing.tables import Tables, load_tables
from training.escalation.candidates import HybridCascade
from training.escalation.fit import fit_look

TREES: dict[str, Any] = {
    "grid": ({"num_leaves": 3, "min_data_in_leaf": 20}, {"num_leaves": 7, "min_data_in_leaf": 20}),
    "folds": 2,
    "rounds": 8,
}
FIRST = LightGBMPerScale(groups=("grid_stats", "question"), **TREES)
NETWORK = Attention(
    budget=Budget(({"learning_rate": 5e-3, "weight_decay": 0.1},), folds=2, epochs=3),
    sizes=Sizes(width=8, heads=2, hidden=8),
)


def tables(split: str = "dev") -> Tables:
    return load_tables(world(), split, final=split == "test")


def fitted(folder: Path, candidates: tuple[Candidate, ...], *, also: bool, **more: Any) -> list[Fit]:
    on_dev = tables()
    fitter = Fitter(on_dev, Fits(folder), also=(on_dev.on_test(),) if also else (), **more)
    jobs = [Job(candidate, seed) for candidate in candidates for seed in (0, 1)]
    made = one_search.run(fitter, jobs, lambda line: None)
    assert not fitter.failures
    return made


def same(one: Fit | None, two: Fit | None) -> None:
    assert one is not None
    assert two is not None
    for mine, other in ((one.path, two.path), (one.tune_path, two.tune_path)):
        np.testing.assert_array_equal(mine.choices, other.choices)
        assert (mine.targets, mine.charge) == (other.targets, other.charge)
        assert (mine.tried is None) == (other.tried is None)
        if mine.tried is not None:
            np.testing.assert_array_equal(mine.tried, other.tried)
    assert one.about.notes == two.about.notes


def test_they_are_the_fits_of_a_comparison_on_test_and_those_on_dev_are_as_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def counted(*arguments: Any, **more: Any) -> Any:
        looks.append(more["seed"])
        return fit_look(*arguments, **more)

    monkeypatch.setattr("training.escalation.candidates.fit_look", counted)
    who = (FIRST, HybridCascade(first=FIRST, second=LightGBMShared(**TREES)), NETWORK)
    fitted(tmp_path / "both", who, also=True)
    assert looks == [0, 1]  # one second look for both tables
    fitted(tmp_path / "dev", who, also=False)
    jobs = [Job(candidate, seed) for candidate in who for seed in (0, 1)]
    final = Fitter(tables("test"), Fits(tmp_path / "final"))
    one_search.run(final, jobs, lambda line: None)
    both, dev, test = (Fits(tmp_path / name) for name in ("both", "dev", "final"))
    names = {path.name for path in both.folder.iterdir()}
    apart = [{path.name for path in each.folder.iterdir()} for each in (dev, test)]
    assert [len(names), *map(len, apart)] == [12, 6, 6]
    assert names == apart[0] | apart[1]
    for alone, found in zip((dev, test), apart, strict=True):
        for name in found:
            same(both.read(name), alone.read(name))


def test_later_seeds_go_through_folds_only_where_others_are_made_of_what_folds_said(tmp_path: Path) -> None:
    who = (FIRST, HybridCascade(first=FIRST, second=LightGBMShared(**TREES)), NETWORK)
    by_name = {(fit.about.name, fit.about.seed): fit for fit in fitted(tmp_path, who, also=False)}
    assert len(by_name["lightgbm_per_scale", 1].about.notes["held_out_log_loss"]) == 5
    assert by_name["hybrid", 1].about.notes["trees"] == by_name["lightgbm_per_scale", 1].about.notes["trees"]
    assert by_name["attention", 1].about.notes["held_out_log_loss"] == []
    assert by_name["attention", 1].about.notes["epochs"] == by_name["attention", 0].about.notes["epochs"]
    alone = fitted(tmp_path / "alone", (FIRST,), also=False)[1]
    assert alone.about.notes["held_out_log_loss"] == []


def test_a_fit_is_made_again_where_its_pair_is_missing_or_of_another_fit(tmp_path: Path) -> None:
    fits = Fits(tmp_path)
    fitted(tmp_path, (Lookup(),), also=True, processes=2)
    first = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(first) == 4
    fitted(tmp_path, (Lookup(),), also=True)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == first
    on_test = [name for name in first if len(_read(fits, name).path.choices[0]) == len(tables("test").table)]
    stale = _read(fits, on_test[0])
    fits.write(on_test[0], replace(stale, about=replace(stale.about, created="2020-01-01T00:00:00+00:00")))
    (tmp_path / on_test[1]).unlink()
    fitted(tmp_path, (Lookup(),), also=True)
    assert _read(fits, on_test[0]).about.created != "2020-01-01T00:00:00+00:00"
    assert (tmp_path / on_test[1]).is_file()


def _read(fits: Fits, name: str) -> Fit:
    fit = fits.read(name)
    assert fit is not None
    return fit


def test_nothing_of_the_test_split_tells_what_was_right() -> None:
    table = tables().on_test().table
    assert table.split == "test"
    assert not table.scores.any()
    assert not any(table.references)


def test_a_test_split_that_is_not_there_or_of_another_backbone_is_refused(tmp_path: Path) -> None:
    for split in ("router-train", "tune", "dev", "test"):
        table = read_outcomes(world() / split)
        if split == "test":
            table = replace(table, manifest={**table.manifest, "backbone_fingerprint": "other"})
            with pytest.raises(RecordError, match="test"):
                load_tables(tmp_path).on_test()
        write_outcomes(tmp_path / split, table)
    with pytest.raises(RecordError, match="of another backbone or ladder"):
        load_tables(tmp_path).on_test()
