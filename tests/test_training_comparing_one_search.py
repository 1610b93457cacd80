"""One search for all seeds: who searches, what the others take, and what an interrupted run goes on with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.comparing import Failing, compared, fitter
from training.candidates.base import Examples, Fitted
from training.candidates.lightgbm_per_scale import LightGBMPerScale
from training.candidates.lightgbm_shared import LightGBMShared
from training.candidates.lookup import Lookup
from training.comparing import one_search
from training.comparing.jobs import Job
from training.comparing.markdown import markdown
from training.comparing.rows import as_json
from training.escalation.candidates import HybridCascade

CONFUSED = "what seeds differ by leaves out the search"


@dataclass(frozen=True)
class Searching:
    """Finds its first seed, unless it was told. fitted: (seed, what it was told) of its fits."""

    name: str = "searching"
    groups: tuple[str, ...] = ("length",)
    told: int | None = None
    fitted: list[tuple[int, int | None]] = field(default_factory=list, repr=False, compare=False)

    def settled(self, notes: Mapping[str, Any], *, rounds: bool = False) -> Searching:
        return dataclasses.replace(self, told=notes.get("found"))

    def fit(self, examples: Examples, *, seed: int, threads: int) -> Fitted:
        self.fitted.append((seed, self.told))
        if len(self.fitted) == 2 and seed == 1:
            raise KeyboardInterrupt
        return Found(Lookup().fit(examples), {"found": 10 + seed if self.told is None else self.told})


@dataclass(frozen=True)
class Found:
    inner: Any
    notes: dict[str, Any]

    def predict(self, examples: Examples) -> Any:
        return self.inner.predict(examples)


def test_the_first_seed_searches_and_an_interrupted_run_goes_on_with_what_it_found(tmp_path: Path) -> None:
    searching = Searching()
    jobs = [Job(searching, seed) for seed in (0, 1, 2)]
    with pytest.raises(KeyboardInterrupt):
        one_search.run(fitter(tmp_path), jobs, lambda line: None)
    assert searching.fitted == [(0, None), (1, 10)]
    made = one_search.run(fitter(tmp_path), jobs, lambda line: None)
    assert searching.fitted == [(0, None), (1, 10), (1, 10), (2, 10)]
    assert [fit.about.seed for fit in made] == [0, 1, 2]
    assert {fit.about.notes["found"] for fit in made} == {10}
    again = one_search.run(fitter(tmp_path), jobs, lambda line: None)
    assert [fit.about for fit in again] == [fit.about for fit in made]
    assert len(searching.fitted) == 4
    one_search.run(fitter(tmp_path), jobs, lambda line: None, again=("searching",))
    assert searching.fitted[4:] == [(0, None), (1, 10), (2, 10)]


def test_variants_search_for_themselves_and_so_does_everyone_after_a_first_fit_that_failed(
    tmp_path: Path,
) -> None:
    searching = Searching(fitted=[(9, None)] * 2)
    jobs = [Job(searching, seed, variant) for variant in ("", "half") for seed in (0, 1)]
    one_search.run(fitter(tmp_path), [jobs[0], *jobs[2:]], lambda line: None)
    assert searching.fitted[2:] == [(0, None), (1, 10)]  # both variants' first fits are one file
    fits = fitter(tmp_path / "failing")
    assert one_search.run(fits, [Job(Failing(), seed) for seed in (0, 1)], lambda line: None) == []
    assert [failure.label for failure in fits.failures] == ["failing, seed 0", "failing, seed 1"]
    assert one_search.run(fits, [], lambda line: None) == []


def test_the_page_says_what_seeds_leave_out(tmp_path: Path) -> None:
    got = compared(tmp_path, Searching(fitted=[(9, None)] * 2))
    assert CONFUSED in markdown(got)
    assert CONFUSED in " ".join(as_json(got)["headline"])
    assert CONFUSED not in markdown(compared(tmp_path, Searching(), seeds=1))


TREES: dict[str, Any] = {
    "grid": ({"num_leaves": 3, "min_data_in_leaf": 20}, {"num_leaves": 7, "min_data_in_leaf": 20}),
    "folds": 2,
    "rounds": 8,
}


def test_ablation_takes_settings_and_trees_of_the_whole_fit_and_says_so(tmp_path: Path) -> None:
    small = LightGBMPerScale(groups=("grid_stats", "question"), **TREES)
    got = compared(tmp_path, small, ablate=True)
    fits = fitter(tmp_path).fits
    kept = [fits.read(each.name) for each in (tmp_path / "fits").iterdir()]
    whole = next(fit for fit in kept if fit and (fit.about.variant, fit.about.seed) == ("", 0))
    without = [fit for fit in kept if fit and fit.about.variant]
    assert len(without) == 4
    for fit in without:
        assert fit.about.notes["setting"] == whole.about.notes["setting"]
        assert fit.about.notes["trees"] == whole.about.notes["trees"]
        assert fit.about.notes["held_out_log_loss"] == []
    assert "without one nothing is searched for again" in markdown(got)


def test_the_hybrid_is_ablated_by_its_first_look(tmp_path: Path) -> None:
    first = LightGBMPerScale(groups=("grid_stats", "question"), **TREES)
    got = compared(tmp_path, HybridCascade(first=first, second=LightGBMShared(**TREES)), ablate=True, seeds=1)
    assert got.complete
    assert {row.group for row in got.ablation} == {"grid_stats", "question"}
