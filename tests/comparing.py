"""Small tables on disk and candidates that are fitted in no time, for the tests of comparisons."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.records import write_outcomes
from router.predictor import Predictions
from tests.routing import outcomes
from training.candidates.base import Candidate, Examples, Fitted, no_novelty
from training.candidates.lookup import Lookup
from training.comparing.comparison import Comparison, Wanted, compare
from training.comparing.fits import Fits
from training.comparing.fitting import Fitter
from training.comparing.tables import load_tables
from training.evaluation.settings import Settings
from training.report.provenance import collect

DRAWS = 200


@functools.cache
def world() -> Path:
    """A folder of outcome tables, made once."""
    home = Path(tempfile.mkdtemp(prefix="m3-compare-"))
    for split, images in (("router-train", 60), ("tune", 40), ("dev", 50), ("test", 20)):
        write_outcomes(home / split, outcomes(images, split=split))
    return home


@dataclass(frozen=True)
class Noisy:
    """Knows the scores, but for noise that the seed draws. fitted: the seeds of its fits, in order."""

    name: str = "noisy"
    groups: tuple[str, ...] = ("length",)
    noise: float = 0.5
    fitted: list[int] = field(default_factory=list, repr=False, compare=False)

    def fit(self, examples: Examples, *, seed: int, threads: int) -> Fitted:
        self.fitted.append(seed)
        return FittedNoisy(self.noise, seed)


@dataclass(frozen=True)
class FittedNoisy:
    noise: float
    seed: int

    def predict(self, examples: Examples) -> Predictions:
        rng = np.random.default_rng([self.seed, len(examples)])
        noisy = examples.scores + self.noise * rng.normal(size=examples.scores.shape)
        p = (1 / (1 + np.exp(-noisy))).astype(np.float32)
        return Predictions(p, p, no_novelty(len(p)))


@dataclass(frozen=True)
class Failing:
    """Fails for seeds from ``first`` on."""

    name: str = "failing"
    groups: tuple[str, ...] = ("length",)
    first: int = 0

    def fit(self, examples: Examples, *, seed: int, threads: int) -> Fitted:
        if seed >= self.first:
            raise RuntimeError("it went\nwrong")
        return Lookup().fit(examples)


@dataclass(frozen=True)
class Escalating:
    """Tries scale 9, and goes on to the largest where that was wrong: a cascade that sees the answer."""

    name: str = "escalating"
    groups: tuple[str, ...] = ("length",)

    def fit(self, examples: Examples, *, seed: int, threads: int) -> Fitted:
        return FittedEscalating()


@dataclass(frozen=True)
class FittedEscalating:
    def predict(self, examples: Examples) -> Predictions:
        raise AssertionError("a cascade is more than its predictions")

    def frontier(self, tune: Examples, examples: Examples) -> tuple[Settings, Settings]:
        return self._path(tune), self._path(examples)

    def _path(self, examples: Examples) -> Settings:
        wrong: NDArray[np.bool_] = examples.scores[:, 1] == 0
        tried = np.zeros((1, *examples.scores.shape), np.bool_)
        tried[0, wrong, 1] = True
        choices = np.where(wrong, 4, 1).astype(np.int8)[None]
        charge = {"flops": 5.0, "flops_7b": 7.0}
        return Settings("a name of its own", "confidence", (0.5,), choices, charge, tried)


def fitter(out: Path, *, folds: int = 0, tolerance: float = 0.0) -> Fitter:
    return Fitter(load_tables(world(), folds=folds), Fits(out / "fits"), tolerance)


def compared(
    out: Path,
    *candidates: Candidate,
    fits: Fitter | None = None,
    told: Callable[[str], None] = lambda line: None,
    **wanted: object,
) -> Comparison:
    """A comparison of ``candidates``, the first one the main one."""
    fits = fits or fitter(out)
    provenance = collect(fits.tables.inputs, command="m3-train compare --out out", draws=DRAWS, seed=0)
    asked = Wanted(candidates, candidates[0].name, **{"seeds": 2, **wanted})  # type: ignore[arg-type]
    return compare(fits, asked, provenance, draws=DRAWS, told=told)
