"""What a report is made of: the outcome tables of a folder, and a router whose predictions are replayed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.reading import how_to_make
from data.records import IDENTITY, OutcomeTable, RecordError, read_outcomes
from router.errors import ConstraintError
from router.features import FeatureSpec
from router.policy import Constraints
from router.predictor import Predictions
from router.router import Router
from training.candidates.base import Examples
from training.candidates.lookup import Lookup
from training.evaluate import Contender
from training.evaluation.comparison import token_levels
from training.evaluation.settings import Index, Replay, Settings, at_prices, by_expected_score
from training.report.certified import ASKED, covering
from training.report.own_cost import own_flops
from training.report.places import FINAL, MANIFEST
from training.report.replicates import find_replicates
from training.report.shifts import read_shifts


@dataclass(frozen=True)
class Inputs:
    """The evaluated table; ``tune`` and ``train`` where the folder has them; the router where there is one.

    predictions: the router's on ``table``. folders: split -> folder of its table, for provenance.
    replicates: the samples of ``table`` with perturbed pixels, in its order. shifts: tables of other splits.
    asked: the accuracy drop that the report's operating point has to keep; None: the bundle's default price.
    """

    table: OutcomeTable
    tune: OutcomeTable | None
    train: OutcomeTable | None
    router: Router | None
    predictions: Predictions | None
    folders: dict[str, Path]
    replicates: tuple[OutcomeTable, ...] = ()
    shifts: tuple[OutcomeTable, ...] = ()
    asked: Constraints | None = None

    @property
    def split(self) -> str:
        return self.table.split

    @property
    def tolerance(self) -> float:
        """Of the labels that the router was fitted on: what its "sufficient" means."""
        known = 0.0 if self.router is None else self.router.bundle.provenance.get("tolerance")
        return float(known) if isinstance(known, int | float) else 0.0


def load_inputs(
    outcomes: Path,
    bundle: Path | None,
    split: str = "dev",
    *,
    final: bool = False,
    replicates: Sequence[Path] = (),
    shifts: Sequence[Path] = (),
    asked: Constraints | None = None,
) -> Inputs:
    """Read the tables under ``outcomes`` and the bundle, and predict.

    outcomes: a folder of splits (``DIR/dev``, ``DIR/tune``, ...), or the folder of one table, whose
    neighbours are then looked for beside it. bundle: None makes a report without a router. replicates and
    shifts: folders for `training.report.replicates.find_replicates` and `training.report.shifts.read_shifts`.
    asked: an accuracy drop for the operating point. Raises `RecordError` for what is wrong with the tables,
    among it a test split without ``final``, `router.errors.BundleError` and its family for the bundle, and
    ValueError for a drop that it has no certificate of.
    """
    single = (outcomes / MANIFEST).is_file()
    home = outcomes if single else outcomes / split
    if not (home / MANIFEST).is_file():
        found = sorted(p.parent.name for p in outcomes.glob(f"*/{MANIFEST}"))
        there = f"splits there: {', '.join(found)}; " if found else ""
        raise RecordError(
            f"There is no outcome table of split '{split}' in {outcomes}; {there}make one with "
            f"{how_to_make(home)}."
        )
    if split == FINAL and not final:
        raise RecordError(f"The split '{FINAL}' is opened by --final only, which logs the opening.")
    table = read_outcomes(home)
    if FINAL in table.split.split("+") and not final:
        raise RecordError(f"{home} is a table of the split '{table.split}': it is opened by --final only.")
    if final and table.split != FINAL:
        raise RecordError(f"--final opens the split '{FINAL}'; the table at {home} is of '{table.split}'.")
    if not single and table.split != split:
        raise RecordError(f"{home} holds the split '{table.split}', not '{split}': is it in the wrong place?")
    folders = {table.split: home}
    others: dict[str, OutcomeTable | None] = {}
    for name in ("tune", "router-train"):
        beside = home.parent / name
        others[name] = None
        if name != table.split and (beside / MANIFEST).is_file():
            others[name] = neighbour(beside, name, table)
            if others[name] is not None:
                folders[name] = beside
    perturbed = find_replicates(home, table, replicates)
    folders |= {name: folder for name, (_, folder) in perturbed.items()}
    shifted = read_shifts(shifts, table, final=final)
    folders |= {name: folder for name, (_, folder) in shifted.items()}
    router = None if bundle is None else Router.load(bundle, table.backbone_fingerprint)
    if asked is not None:
        if router is None:
            raise ValueError("An accuracy drop is certified of a router: give its --bundle.")
        covering(router.bundle.certificates, asked)
    predictions = None if router is None else predict(router, table)
    return Inputs(
        table,
        others["tune"],
        others["router-train"],
        router,
        predictions,
        folders,
        tuple(other for other, _ in perturbed.values()),
        tuple(other for other, _ in shifted.values()),
        asked,
    )


def neighbour(folder: Path, split: str, table: OutcomeTable) -> OutcomeTable | None:
    """The table beside ``table``, from which settings and the lookup come; None when it is of another run.

    Raises `RecordError` for one that holds another split, or images of ``table``: settings chosen on the
    data that they are measured on would look better than they are.
    """
    other = read_outcomes(folder)
    if other.split != split:
        raise RecordError(
            f"{folder} holds the split '{other.split}', not '{split}': is it in the wrong place?"
        )
    if other.scales != table.scales or any(other.manifest.get(k) != table.manifest.get(k) for k in IDENTITY):
        return None
    common = sorted(set(other.image_ids) & set(table.image_ids))
    if common:
        raise RecordError(
            f"{folder} shares {len(common)} images with the table reported on, {common[0]!r} first: nothing "
            "may be fitted or chosen on them. Split by image."
        )
    return other


def predict(router: Router, table: OutcomeTable) -> Predictions:
    """The router's calibrated predictions for every sample, exactly as serving makes them."""
    features = router.bundle.features.matrix(table)
    if len(features) <= ROWS:
        return router.predict(features)
    parts = [features[at : at + ROWS] for at in range(0, len(features), ROWS)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(router.predict, parts))
    return Predictions(*(np.concatenate([getattr(f, name) for f in found]) for name in _FIELDS))


ROWS = 10_000
"""Predicted by one thread; more are shared between all that the machine has."""

_FIELDS = ("sufficient", "score", "novelty")


def contenders(inputs: Inputs) -> tuple[Contender, ...]:
    """The router (with its default price and token budgets) and the lookup, as far as they can be had."""
    found = []
    if inputs.router is not None and inputs.predictions is not None:
        charge = own_flops(inputs.router, inputs.table)[0]
        found.append(_router_contender(inputs, inputs.router, inputs.predictions, charge))
    if inputs.train is not None:
        found.append(_lookup_contender(inputs, inputs.train))
    return tuple(found)


def _router_contender(
    inputs: Inputs, router: Router, predictions: Predictions, charge: Mapping[str, float]
) -> Contender:
    replay = _router_replay(router, predictions, inputs.table.visual_tokens)
    tune_replay = None
    if inputs.tune is not None:
        tune_replay = _router_replay(router, predict(router, inputs.tune), inputs.tune.visual_tokens)
    default = at_prices("router", replay, (router.bundle.prices.default,), charge)
    more = (
        _budgets(inputs.table, router, predictions, charge),
        _asked(inputs, router, predictions, charge),
    )
    extra = (default, *(settings for settings in more if settings is not None))
    return Contender("router", replay, tune_replay, extra, charge)


def _asked(
    inputs: Inputs, router: Router, predictions: Predictions, charge: Mapping[str, float]
) -> Settings | None:
    """The `accuracy_drop` that was asked for, at its certificate's setting."""
    if inputs.asked is None:
        return None
    certificate = covering(router.bundle.certificates, inputs.asked)
    choice = router.replay(predictions, inputs.table.visual_tokens, inputs.asked)
    return Settings(ASKED, "accuracy drop", (certificate.epsilon,), choice.astype(np.int8)[None], charge)


def _router_replay(router: Router, predictions: Predictions, visual_tokens: NDArray[np.int64]) -> Replay:
    def replay(price: float) -> Index:
        return router.replay(predictions, visual_tokens, Constraints(price=price))

    return replay


def _budgets(
    table: OutcomeTable, router: Router, predictions: Predictions, charge: Mapping[str, float]
) -> Settings | None:
    """The `token_budget` policy at the compared levels that its table of prices can meet."""
    targets, choices = [], []
    for level in token_levels(table.visual_tokens.mean(axis=0)).tolist():
        try:
            chosen = router.replay(predictions, table.visual_tokens, Constraints(token_budget=level))
        except ConstraintError:
            continue
        targets.append(level)
        choices.append(chosen.astype(np.int8))
    if not targets:
        return None
    return Settings("token_budget", "mean visual tokens", tuple(targets), np.stack(choices), charge)


def _lookup_contender(inputs: Inputs, train: OutcomeTable) -> Contender:
    fitted = Lookup().fit(_examples(train))

    def replay(table: OutcomeTable) -> Replay:
        return by_expected_score(fitted.predict(_examples(table)).score, table.visual_tokens)

    return Contender("lookup", replay(inputs.table), None if inputs.tune is None else replay(inputs.tune))


def _examples(table: OutcomeTable) -> Examples:
    """The table as candidates see it, with the one column that a spec must have (a lookup reads none)."""
    spec = FeatureSpec(
        grid_stat_names=table.grid_stat_names,
        pooled_shape=(table.pooled.shape[1], table.pooled.shape[2]),
        question_size=table.question.shape[1],
        interaction_names=table.interaction_names,
        groups=("length",),
    )
    return Examples.of(table, spec)
