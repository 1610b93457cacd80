"""FrugalGPT's cascade: answer at a small scale, go up while a scorer does not trust the answer.

Source: Chen, Zaharia and Zou, FrugalGPT (arXiv 2305.05176), section 3, "LLM cascade".

Followed: a scorer g(query, answer) -> reliability for each model of the cascade, here each scale, learned
from whether its answers were right; a sequence of at most three models and a threshold for each but the
last, chosen together for the most accuracy at a mean cost (`training.evaluation.plain_cascade`). Every budget
has its own sequence and thresholds, learned on ``tune``, whose images no scorer has seen.

Departures: the scorer is boosted trees instead of a DistilBERT on the text. It reads the question's
features, the answer (which of the frequent ones it is, its length, whether it is a number) and its
confidence, which the paper's services did not give. ``frugalgpt_routed`` reads our route inputs besides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.records import OutcomeTable
from router.cascade import MOST_PASSES
from router.features import NEEDS, QUESTION_GROUPS, Float32
from router.predictor import Predictions
from training.candidates.base import Examples, no_novelty
from training.candidates.boosting import GRID, Search
from training.candidates.budget import FOLDS, ROUNDS, Setting, chosen
from training.candidates.trees import leaves
from training.evaluation.passes import as_settings, confidences
from training.evaluation.plain_cascade import climb, plain_cascade
from training.evaluation.results import FLOPS, FLOPS_7B
from training.evaluation.settings import Settings

ANSWERS = 48
"""Answers, the most frequent ones in fitting, that the scorer knows by name."""


@dataclass(frozen=True)
class FrugalGPT:
    """The candidate. groups: what the scorers read of the request; grid: settings tried on the first fold;
    grids: per scale, in its place; trees: per scale, where they are known."""

    name: str = "frugalgpt"
    groups: tuple[str, ...] = QUESTION_GROUPS
    grid: Sequence[Setting] = field(default=GRID)
    folds: int = FOLDS
    rounds: int = ROUNDS
    grids: tuple[tuple[Setting, ...], ...] = ()
    trees: tuple[tuple[int, ...], ...] = ()

    def settled(self, notes: Mapping[str, Any], *, rounds: bool = False) -> FrugalGPT:
        """See `training.candidates.base.Settling`."""
        found = notes.get("scorers", ())
        trees = tuple(tuple(one.get("trees", ())) for one in found) if rounds else ()
        grids = tuple(chosen(self.grid, one.get("setting")) for one in found)
        return replace(self, grids=grids, trees=trees)

    def fit(self, examples: Examples, *, seed: int, threads: int) -> FittedFrugalGPT:
        """A scorer per scale, each with its own setting and number of trees."""
        known = frequent_answers(examples.table)
        scorers, notes = [], []
        for s in range(examples.scores.shape[1]):
            with Search(
                scorer_features(examples, s, known),
                examples.groups,
                grid=self.grids[s] if self.grids else self.grid,
                folds=self.folds,
                rounds=self.rounds,
                seed=seed,
                threads=threads,
            ) as search:
                found = search.choose([examples.scores[:, s]], trees=self.trees[s] if self.trees else ())
                scorers += search.fit(found)
            notes.append({"setting": found.setting, "trees": found.trees, "held_out_log_loss": found.losses})
        return FittedFrugalGPT(self.name, tuple(scorers), known, {"scorers": notes})


def frugalgpt_routed() -> FrugalGPT:
    """FrugalGPT's cascade with our route inputs."""
    return FrugalGPT("frugalgpt_routed", tuple(group for group in NEEDS if group != "products"))


@dataclass(frozen=True)
class FittedFrugalGPT:
    """scorers: a booster per scale. known: answer -> its column among those known by name."""

    name: str
    scorers: tuple[Any, ...]
    known: Mapping[str, int]
    notes: dict[str, Any]

    @property
    def charge(self) -> Mapping[str, float]:
        """See `training.candidates.base.Charged`: the two dearest scorers, for no cascade runs more."""
        dearest = sorted(leaves(scorer) for scorer in self.scorers)[1 - MOST_PASSES :]
        return dict.fromkeys((FLOPS, FLOPS_7B), float(sum(dearest)))

    def reliability(self, examples: Examples) -> NDArray[np.float64]:
        """g(query, answer) of the answers at all scales [n, S]: how likely each is right."""
        raw = [
            scorer.predict(scorer_features(examples, s, self.known), raw_score=True, num_threads=1)
            for s, scorer in enumerate(self.scorers)
        ]
        sure: NDArray[np.float64] = 1 / (1 + np.exp(-np.stack(raw, axis=1)))
        return sure

    def predict(self, examples: Examples) -> Predictions:
        """`reliability`, for both heads. It has read the answers: no price may be paid by it."""
        sure = self.reliability(examples).astype(np.float32)
        return Predictions(sure, sure, no_novelty(len(sure)))

    def frontier(self, tune: Examples, examples: Examples) -> tuple[Settings, Settings]:
        """See `training.candidates.base.Frontier`."""
        sure, tokens = self.reliability(tune), tune.table.visual_tokens
        cascades = plain_cascade(sure, tokens, tune.scores)
        on_tune = [climb(rungs, sure) for rungs in cascades]
        budgets = [float(passes.tokens(tokens).mean()) for passes in on_tune]
        sure = self.reliability(examples)
        on_examples = [climb(rungs, sure) for rungs in cascades]
        knob = "mean visual tokens on tune"
        return (
            as_settings(self.name, knob, budgets, on_tune, self.charge),
            as_settings(self.name, knob, budgets, on_examples, self.charge),
        )


def frequent_answers(table: OutcomeTable) -> dict[str, int]:
    """Answer, in lower case -> column."""
    counts = Counter(str(answer).lower() for answer in table.answers.reshape(-1))
    most = sorted(counts, key=lambda answer: (-counts[answer], answer))[:ANSWERS]
    return {answer: column for column, answer in enumerate(most)}


def scorer_features(examples: Examples, s: int, known: Mapping[str, int]) -> Float32:
    """What the scorer of the scale with index ``s`` reads [n, F + C + 3 + `ANSWERS`]."""
    table = examples.table
    read = np.zeros((len(table), 3 + ANSWERS), np.float32)
    for row, answer in zip(read, table.answers[:, s].tolist(), strict=True):
        row[:3] = len(answer), len(answer.split()), answer.replace(".", "", 1).isdigit()
        column = known.get(answer.lower())
        if column is not None:
            row[3 + column] = 1.0
    return np.concatenate([examples.features, confidences(table)[:, s], read], axis=1, dtype=np.float32)
