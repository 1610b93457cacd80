"""Cascades among the candidates: the hybrid, and the plain cascade that it must be better than.

``plain_cascade`` climbs up to three scales while the geometric mean of an answer's token probabilities is
below the threshold of its rung; scales and thresholds are those with the most accuracy for their tokens on
``tune``. It is FrugalGPT's cascade with a free scorer (`training.candidates.frugalgpt` has one that is
learned). Every pass is charged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from router.calibration import Calibration
from router.cascade import MEAN_LOGPROB, MOST_PASSES
from router.features import Float32
from router.predictor import Predictions
from training.calibrate import calibrated, fit_calibration
from training.candidates.attention import Attention
from training.candidates.base import Candidate, Examples, Logits, no_novelty, settled
from training.escalation.attempts import held_out
from training.escalation.fit import LibraryLook, fit_look, learner, replay
from training.evaluation.hybrid import Hybrid
from training.evaluation.passes import as_settings, confidences
from training.evaluation.plain_cascade import climb, plain_cascade
from training.evaluation.results import FLOPS, FLOPS_7B
from training.evaluation.settings import Settings

CHEAPEST_FIRST = "mean visual tokens on tune"


@dataclass(frozen=True)
class HybridCascade:
    """Predict, answer, look at the answer, and answer again where that pays: `m3-train fit --escalation`,
    but for the fallback of novel requests, which no candidate has here.

    first: predicts before the language model, and must keep what it said of held-out samples. second: learns
    the second look.
    """

    name: str = "hybrid"
    first: Candidate = field(default_factory=Attention)
    second: Candidate = field(default_factory=learner)

    @property
    def groups(self) -> tuple[str, ...]:
        return self.first.groups

    def reading(self, groups: tuple[str, ...]) -> HybridCascade:
        """The hybrid whose first look reads ``groups`` alone; the second one reads its predictions."""
        return replace(self, first=replace(cast(Any, self.first), groups=groups))

    def settled(self, notes: Mapping[str, Any], *, rounds: bool = False) -> HybridCascade:
        """See `training.candidates.base.Settling`. The second look is learned from what the first said of
        held-out images, so that its trees are counted on folds in any case."""
        second = settled(self.second, notes.get("second", {}))
        return replace(self, first=settled(self.first, notes), second=second)

    def fit(self, examples: Examples, *, seed: int, threads: int) -> FittedCascade:
        """Fits the first look; the second one needs it calibrated, which is done with ``tune``."""
        first = self.first.fit(examples, seed=seed, threads=threads)
        return self.fit_from(examples, [first], seed=seed, threads=threads)

    @property
    def parts(self) -> tuple[Candidate, ...]:
        return (self.first,)

    def fit_from(
        self, examples: Examples, fitted: Sequence[Any], *, seed: int, threads: int
    ) -> FittedCascade:
        """See `training.candidates.base.Composed`."""
        (first,) = fitted
        return FittedCascade(self, examples, first, held_out(first, self.first.name), seed, threads)


@dataclass(frozen=True)
class FittedCascade:
    """The first look fitted on ``examples``, from which the second is fitted when ``tune`` is there.

    unseen: what it said of them while they were held out. found: notes of the second look, once there is one.
    learned: (tune, maps, look) of the last tune, so that several tables are replayed with one second look.
    """

    candidate: HybridCascade
    examples: Examples
    first: Any
    unseen: Predictions
    seed: int
    threads: int
    found: dict[str, Any] = field(default_factory=dict)
    learned: list[tuple[Examples, Calibration, LibraryLook]] = field(default_factory=list)

    @property
    def logits(self) -> Logits:
        """Those of the first look: what the decision before the language model costs."""
        logits: Logits = self.first.logits
        return logits

    @property
    def notes(self) -> Mapping[str, Any]:
        return {**getattr(self.first, "notes", {}), **({"second": self.found} if self.found else {})}

    def predict(self, examples: Examples) -> Predictions:
        """The first look's."""
        found: Predictions = self.first.predict(examples)
        return found

    def looks(self, tune: Examples, examples: Examples) -> tuple[LibraryLook, Hybrid, Hybrid]:
        """The second look, and its replays on ``tune`` and ``examples``, whose scores are not looked at."""
        raw = self.predict(tune)
        if not self.learned or self.learned[0][0] is not tune:
            self.learned[:] = [(tune, *self._learn(tune, raw))]
        _, maps, look = self.learned[0]
        first = calibrated(maps, raw)
        on_tune = replay(look, tune.table, first, np.zeros(len(tune), np.bool_))
        if examples is tune:
            return look, on_tune, on_tune
        other = calibrated(maps, self.predict(examples))
        return look, on_tune, replay(look, examples.table, other, np.zeros(len(examples), np.bool_))

    def _learn(self, tune: Examples, raw: Predictions) -> tuple[Calibration, LibraryLook]:
        """raw: of the first look on ``tune``."""
        maps = fit_calibration(raw, tune.sufficient, tune.scores, tune.groups, self.seed)
        look = fit_look(
            self.examples,
            calibrated(maps, self.unseen),
            tune,
            calibrated(maps, raw),
            seed=self.seed,
            threads=self.threads,
            candidate=self.candidate.second,
        )
        self.found.update(look.notes)
        return maps, look

    def frontier(self, tune: Examples, examples: Examples) -> tuple[Settings, Settings]:
        """See `training.candidates.base.Frontier`. Charged for as many second looks as there may be."""
        look, on_tune, hybrid = self.looks(tune, examples)
        flops = self.logits.flops + (MOST_PASSES - 1) * look.logits.flops
        charge = dict.fromkeys((FLOPS, FLOPS_7B), flops)
        setting = on_tune.tuned(tune.scores)
        path = hybrid.sweep(self.candidate.name, *setting, charge)
        return on_tune.at_prices(path.name, path.targets, *setting, charge), path


@dataclass(frozen=True)
class PlainCascade:
    """The plain cascade."""

    name: str = "plain_cascade"
    groups: tuple[str, ...] = ("length",)  # a spec needs a column; none is read

    def fit(self, examples: Examples, *, seed: int, threads: int) -> FittedPlain:
        """Nothing is learned on these; ``seed`` and ``threads`` change nothing."""
        return FittedPlain(self.name)


@dataclass(frozen=True)
class FittedPlain:
    """name: of its settings."""

    name: str

    def predict(self, examples: Examples) -> Predictions:
        """Nothing is known before an answer: every scale is as good as any other."""
        even: Float32 = np.full(examples.scores.shape, 0.5, np.float32)
        return Predictions(even, even, no_novelty(len(examples)))

    def frontier(self, tune: Examples, examples: Examples) -> tuple[Settings, Settings]:
        """See `training.candidates.base.Frontier`."""
        sure = [
            np.exp(confidences(each.table)[:, :, MEAN_LOGPROB].astype(np.float64))
            for each in (tune, examples)
        ]
        tokens = tune.table.visual_tokens
        found = plain_cascade(sure[0], tokens, tune.scores)
        on_tune, other = ([climb(rungs, each) for rungs in found] for each in sure)
        spent = [float(run.tokens(tokens).mean()) for run in on_tune]
        return (
            as_settings(self.name, CHEAPEST_FIRST, spent, on_tune),
            as_settings(self.name, CHEAPEST_FIRST, spent, other),
        )
