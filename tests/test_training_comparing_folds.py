"""A comparison on folds of router-train, where there is no other table."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from router.predictor import Predictions
from tests.comparing import Escalating, compared, fitter
from training.candidates.base import Examples
from training.candidates.lookup import FittedLookup, Lookup
from training.comparing.jobs import Job
from training.evaluation.settings import Settings


def test_folds_compare_on_router_train_by_fits_that_had_not_seen_the_image(tmp_path: Path) -> None:
    fits = fitter(tmp_path, folds=3)
    seen: list[tuple[set[str], set[str]]] = []

    @dataclasses.dataclass(frozen=True)
    class Watching:
        name: str = "watching"
        groups: tuple[str, ...] = ("length",)

        def fit(self, examples: Examples, *, seed: int, threads: int) -> Watched:
            return Watched(frozenset(examples.table.image_ids), Lookup().fit(examples))

    @dataclasses.dataclass(frozen=True)
    class Watched:
        images: frozenset[str]
        inner: FittedLookup

        def predict(self, examples: Examples):  # type: ignore[no-untyped-def]
            if examples.table.split == "router-train":
                seen.append((set(self.images), set(examples.table.image_ids)))
            return self.inner.predict(examples)

    got = compared(tmp_path, Watching(), Escalating(), fits=fits, seeds=1)
    assert len(seen) == 3
    assert not any(fitted & asked for fitted, asked in seen)
    assert set.union(*(asked for _, asked in seen)) == set(got.tables.train.image_ids)
    assert got.standings.evaluation.n == len(got.tables.train)
    escalating = next(fit for fit in fits.run([Job(Escalating(), 0)], lambda line: None))
    wrong = got.tables.train.scores[:, 1] == 0  # the fits' own settings, each fold's on its own rows
    np.testing.assert_array_equal(escalating.path.choices, [np.zeros(len(wrong)), np.where(wrong, 4, 1)])
    assert escalating.path.tried is not None
    np.testing.assert_array_equal(escalating.path.tried[1, :, 1], wrong)
    assert escalating.tune_path.choices.shape[1] == 3 * len(got.tables.tune)
    assert got.complete
    assert got.standings.of("escalating").settings
    assert got.standings.of("watching").settings  # chosen on tune, where every fold has its own predictions


@dataclasses.dataclass(frozen=True)
class Rising:
    """Has settings of its own, more of them the more it was fitted on: at setting k the first k samples of
    every five get the full scale."""

    name: str = "rising"
    groups: tuple[str, ...] = ("length",)

    def fit(self, examples: Examples, *, seed: int, threads: int) -> FittedRising:
        return FittedRising(3 + int(examples.scores.sum()) % 3)


@dataclasses.dataclass(frozen=True)
class FittedRising:
    n: int

    def predict(self, examples: Examples) -> Predictions:
        raise AssertionError("it makes settings of its own")

    def frontier(self, tune: Examples, examples: Examples) -> tuple[Settings, Settings]:
        return self._path(tune), self._path(examples)

    def _path(self, examples: Examples) -> Settings:
        at = np.arange(len(examples)) % 5
        choices = np.stack([np.where(at < k, 4, 0) for k in range(self.n)]).astype(np.int8)
        return Settings("", "first samples", tuple(range(self.n)), choices)


def test_folds_join_settings_that_spend_alike_on_tune(tmp_path: Path) -> None:
    fits = fitter(tmp_path, folds=3)
    (fit,) = fits.run([Job(Rising(), 0)], lambda line: None)
    spent = fit.tune_path.choices.reshape(len(fit.path.targets), 3, -1).mean(axis=2)
    for k, each in enumerate(spent[: spent.shape[0]]):
        assert each[0] == pytest.approx(0.8 * k)
        assert (np.abs(each[1:] - each[0]) <= 0.8 * 2).all()
    np.testing.assert_allclose(spent[:3], np.tile(0.8 * np.arange(3)[:, None], 3))
    assert fit.path.choices.shape == (len(spent), len(fits.tables.train))
