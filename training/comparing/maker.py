"""Makes one fit: the candidate on router-train, calibrated on tune, replayed over the compared table.

The same fit may be replayed over further tables, as if each were the compared one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.records import OutcomeTable
from router.features import FeatureSpec, Float32
from training.calibrate import calibrated, fit_calibration
from training.candidates.base import Candidate, Charged, Composed, Examples, Fitted, Frontier
from training.comparing.charges import charge_of
from training.comparing.fits import About, Fit
from training.comparing.jobs import Job, identity, parts_of, subset
from training.comparing.tables import Tables
from training.evaluation.settings import Settings, at_prices, by_expected_score, sweep
from training.fit import build_spec
from training.report.provenance import commit

Rows = NDArray[np.int64]


@dataclass
class Maker:
    """Makes fits on ``tables`` by one thread each. tolerance: of `OutcomeTable.sufficient`.

    also: the same ``tables``, but for the compared one; their fits tell the seconds and time of the first.
    """

    tables: Tables
    tolerance: float = 0.0
    also: tuple[Tables, ...] = ()

    def __post_init__(self) -> None:
        self._kept: _Kept | None = None
        self._fitted: dict[str, tuple[Fitted, float]] = {}  # on the examples kept and with ``_seed``
        self._seed: int | None = None

    def make(self, job: Job) -> list[Fit]:
        """The fit on ``tables``, then on each of ``also``. Raises whatever the candidate raises."""
        first, *others = (self._make(job, tables) for tables in (self.tables, *self.also))
        spent, created = first.about.seconds, first.about.created
        abouts = [replace(fit.about, seconds=spent, created=created) for fit in others]
        return [first, *(replace(fit, about=about) for fit, about in zip(others, abouts, strict=True))]

    def _make(self, job: Job, tables: Tables) -> Fit:
        runs = [self._one(job, part, tables.table, asked) for part, asked in tables.parts(job.seed)]
        about = About(
            name=job.candidate.name,
            seed=job.seed,
            variant=job.variant,
            pairs=round(np.mean([len(run.rows) for run in runs])),
            images=round(np.mean([len(np.unique(tables.train.image_index[run.rows])) for run in runs])),
            seconds=round(float(np.mean([run.seconds for run in runs])), 2),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            commit=commit()[0],
            charge={
                cost: float(np.mean([run.charge[cost] for run in runs])) for cost in sorted(runs[0].charge)
            },
            notes=_plain(getattr(runs[0].fitted, "notes", {})),
        )
        if runs[0].own is not None:
            tune_path, path = (_named(own, about) for own in _own(runs, tables))
            return Fit(about, path, tune_path)
        score = np.zeros(tables.table.scores.shape, np.float32)
        for run in runs:
            score[run.asked] = run.score
        tokens, tune_tokens = (
            tables.table.visual_tokens,
            np.tile(tables.tune.visual_tokens, (len(runs), 1)),
        )
        path = sweep(about.name, by_expected_score(score, tokens), tokens, about.charge)
        tune_replay = by_expected_score(np.concatenate([run.tune_score for run in runs]), tune_tokens)
        return Fit(about, path, at_prices(about.name, tune_replay, path.targets, about.charge))

    def _one(self, job: Job, part: Rows, table: OutcomeTable, asked: Rows) -> _Run:
        """Fit on the rows ``part`` of router-train (or some of them), predict the rows ``asked`` of
        ``table``."""
        candidate = job.candidate
        rows = subset(self.tables.train, part, job.fraction, job.seed)
        examples, tune, other = self._examples(candidate.groups, rows, table, asked)
        fitted, spent = self._fit(candidate, examples, job.seed)
        start = time.process_time() - spent
        if isinstance(fitted, Frontier):
            own = fitted.frontier(tune, other)
            seconds = time.process_time() - start
            charge = charge_of(own[1].charge, candidate.groups, table)
            return _Run(rows, asked, fitted, seconds, charge, own=own)
        raw = fitted.predict(tune)
        maps = fit_calibration(raw, tune.sufficient, tune.scores, tune.groups, job.seed)
        score = calibrated(maps, fitted.predict(other)).score
        seconds = time.process_time() - start
        alone = fitted.charge if isinstance(fitted, Charged) else {}
        charge = charge_of(alone, candidate.groups, table)
        return _Run(rows, asked, fitted, seconds, charge, score, calibrated(maps, raw).score)

    def _fit(self, candidate: Candidate, examples: Examples, seed: int) -> tuple[Fitted, float]:
        """(the candidate on the examples that are kept, CPU seconds that it took with all its parts)."""
        if seed != self._seed:
            self._fitted, self._seed = {}, seed
        key = identity(candidate)
        if key not in self._fitted:
            parts = [self._fit(part, examples, seed) for part in parts_of(candidate)]
            start = time.process_time()
            if isinstance(candidate, Composed):
                fitted = candidate.fit_from(examples, [part for part, _ in parts], seed=seed, threads=1)
            else:
                fitted = candidate.fit(examples, seed=seed, threads=1)
            self._fitted[key] = fitted, time.process_time() - start + sum(spent for _, spent in parts)
        return self._fitted[key]

    def _examples(
        self, groups: tuple[str, ...], rows: Rows, table: OutcomeTable, asked: Rows
    ) -> tuple[Examples, Examples, Examples]:
        """Those fitted on, tune's, and the rows ``asked`` of ``table``; the last ones are kept, for the next
        seed and table."""
        key = (groups, rows.tobytes())
        if self._kept is None or self._kept.key != key:
            self._kept, self._fitted = None, {}  # frees the memory of the last ones first
            train = self.tables.train.take(rows)
            spec = build_spec(train, groups)
            one, two = (Examples.of(each, spec, self.tolerance) for each in (train, self.tables.tune))
            self._kept = _Kept(key, spec, one, two)
        kept, which = self._kept, (table.split, asked.tobytes())
        if which not in kept.asked:
            kept.asked[which] = Examples.of(table.take(asked), kept.spec, self.tolerance)
        return kept.train, kept.tune, kept.asked[which]


@dataclass(frozen=True)
class _Kept:
    """What was made of the tables for some groups of features and some rows of router-train.

    asked: (split, rows) -> those that were asked about.
    """

    key: tuple[tuple[str, ...], bytes]
    spec: FeatureSpec
    train: Examples
    tune: Examples
    asked: dict[tuple[str, bytes], Examples] = field(default_factory=dict)


@dataclass(frozen=True)
class _Run:
    """One fit: on one part of router-train. score: [asked, S]; tune_score: [m, S]; own: its own settings."""

    rows: Rows
    asked: Rows
    fitted: Fitted
    seconds: float
    charge: Mapping[str, float]
    score: Float32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    tune_score: Float32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    own: tuple[Settings, Settings] | None = None


def _own(runs: Sequence[_Run], tables: Tables) -> tuple[Settings, Settings]:
    """The runs' own settings on tune and on the compared table, as one path.

    Every fold has settings of its own: to each of the first fold's belong those of the others that spend
    the most nearly as much on tune. No label of the compared table is looked at.
    """
    owns = [run.own for run in runs if run.own is not None]
    if len(owns) == 1:
        return owns[0]
    tokens = tables.tune.visual_tokens.astype(np.float64)
    spent = [np.log(_spent(tune_path, tokens)) for tune_path, _ in owns]
    nearest = [np.abs(each[None] - spent[0][:, None]).argmin(axis=1) for each in spent]
    n = len(tables.tune)
    on_tune = [
        (own[0], at, np.arange(k * n, (k + 1) * n))
        for k, (own, at) in enumerate(zip(owns, nearest, strict=True))
    ]
    compared = [(own[1], at, run.asked) for own, at, run in zip(owns, nearest, runs, strict=True)]
    return _joined(on_tune), _joined(compared)


def _spent(path: Settings, tokens: NDArray[np.float64]) -> NDArray[np.float64]:
    """[K] mean visual tokens of all passes. tokens: [n, S]."""
    rows = np.arange(len(tokens))
    spent = [tokens[rows, choice].mean() for choice in path.choices]
    if path.tried is not None:
        before = [np.where(tried, tokens, 0.0).sum(axis=1).mean() for tried in path.tried]
        spent = [last + more for last, more in zip(spent, before, strict=True)]
    return np.array(spent, np.float64)


def _joined(parts: Sequence[tuple[Settings, Rows, Rows]]) -> Settings:
    """One path whose rows are from different ones: (path, its settings in order, the rows that are its)."""
    first, order, _ = parts[0]
    n = sum(len(rows) for _, _, rows in parts)
    choices = np.zeros((len(order), n), np.int8)
    tried = None if first.tried is None else np.zeros((len(order), n, first.tried.shape[2]), np.bool_)
    for path, at, rows in parts:
        choices[:, rows] = path.choices[at]
        if tried is not None and path.tried is not None:
            tried[:, rows] = path.tried[at]
    targets = tuple(first.targets[k] for k in order)
    return Settings(first.name, first.target_is, targets, choices, first.charge, tried)


def _named(path: Settings, about: About) -> Settings:
    """A candidate's own settings under its name, charged for what the route inputs and it itself cost.

    They start at the smallest scale for all, which anyone can choose: without it a curve that starts late
    would be read below its cheapest setting as if that were cheaper.
    """
    charge = dict(about.charge)
    if not path.choices[0].any() and (path.tried is None or not path.tried[0].any()):
        return replace(path, name=about.name, charge=charge)
    choices = np.concatenate([np.zeros_like(path.choices[:1]), path.choices])
    tried = None if path.tried is None else np.concatenate([np.zeros_like(path.tried[:1]), path.tried])
    return Settings(about.name, path.target_is, (np.inf, *path.targets), choices, charge, tried)


def _plain(value: Any) -> Any:
    """``value`` as JSON types; what is none of them as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, str | int | float | bool | None) else str(value)
