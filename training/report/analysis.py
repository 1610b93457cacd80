"""What a report knows besides the evaluation: families, labels, confusion, reliability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.records import OutcomeTable
from training.evaluate import Evaluation
from training.evaluation.calibration import Reliability
from training.evaluation.comparison import Estimate
from training.evaluation.oracle import ZONES
from training.evaluation.resampling import measure
from training.evaluation.results import TOKENS, PolicyResult
from training.evaluation.settings import Settings
from training.report.certified import ASKED, Certified, certified
from training.report.corpus import CorpusRow, corpus_rows
from training.report.difficulty import Measure, measures
from training.report.field import FieldMeasures, field_measures
from training.report.granularity import Granularity, choice_shares, falls_somewhere
from training.report.importance import Importance, importances
from training.report.inputs import Inputs
from training.report.own_cost import OwnCost, own_cost
from training.report.paper import Reweighted, reweighted
from training.report.peers import Peers
from training.report.shifted import Shift, shift_rows
from training.report.timing import Times

UNNAMED = "(all)"


@dataclass(frozen=True)
class Family:
    """One family of questions, or one data set.

    labels: share whose oracle scale is each scale, last: none is sufficient.

    choice: the same among those with a sufficient scale. non_monotone: share whose score falls somewhere.
    router, router_tokens, versus_best: at the operating point; None without a router.
    """

    name: str
    n: int
    n_images: int
    accuracy: tuple[float, ...]
    oracle_accuracy: float
    oracle_tokens: float
    labels: tuple[float, ...]
    zones: tuple[float, ...]
    choice: tuple[float, ...]
    non_monotone: float
    router: float | None = None
    router_tokens: float | None = None
    versus_best: Estimate | None = None


@dataclass(frozen=True)
class Report:
    """Everything on the page. operating: the setting that headline, confusion and examples are about.

    datasets: as families, where the table has several. confusion: [S + 1, S] counts, rows: oracle scale
    (last: none sufficient), columns: chosen scale. reliability: scale -> how P(sufficient at scale) compares
    with what happened. times: where the milliseconds come from. peers: of another command, where given.
    """

    inputs: Inputs
    evaluation: Evaluation
    operating: PolicyResult | None
    families: tuple[Family, ...]
    overall: Family
    confusion: NDArray[np.int64] | None
    reliability: Mapping[int, Reliability]
    fallbacks: int
    granularity: Granularity
    difficulty: tuple[Measure, ...]
    shifts: tuple[Shift, ...]
    reweighted: tuple[Reweighted, ...]
    provenance: Mapping[str, Any]
    corpus: tuple[CorpusRow, ...] = ()
    datasets: tuple[Family, ...] = ()
    field: tuple[FieldMeasures, ...] = ()
    certified: tuple[Certified, ...] = ()
    importances: tuple[Importance, ...] = ()
    own_cost: OwnCost | None = None
    times: Times | None = None
    peers: Peers | None = None

    def parts(self, by: str) -> tuple[Family, ...]:
        """by: "family" or "data set". Empty where no family is named: the whole is its only part."""
        found = self.families if by == "family" else self.datasets
        return () if [f.name for f in found] == [UNNAMED] else found

    @property
    def dataset(self) -> str:
        return str(self.inputs.table.manifest.get("dataset", "")) or "data set without a name"


def analyse(
    inputs: Inputs,
    evaluation: Evaluation,
    provenance: Mapping[str, Any],
    *,
    times: Times | None = None,
    peers: Peers | None = None,
) -> Report:
    """Put together what the page shows."""
    table, router = inputs.table, inputs.router
    roles = ("default", "thrifty", "accurate")
    found = [evaluation.result(ASKED, ASKED), *(evaluation.result("router", role) for role in roles)]
    operating = next((p for p in found if p is not None), None)
    families = _families(table, evaluation, operating, table.families)
    several = len(np.unique(table.datasets)) > 1
    datasets = _families(table, evaluation, operating, table.datasets) if several else ()
    overall = _family(table, evaluation, operating, "all", np.ones(len(table), np.bool_))
    confusion = None
    reliability: dict[int, Reliability] = {}
    fallbacks = 0
    if operating is not None and inputs.predictions is not None and inputs.router is not None:
        truth = np.where(evaluation.oracle.choice < 0, len(table.scales), evaluation.oracle.choice)
        confusion = np.zeros((len(table.scales) + 1, len(table.scales)), np.int64)
        np.add.at(confusion, (truth, operating.choice), 1)
        sufficient = table.sufficient(inputs.tolerance)
        for s, scale in enumerate(table.scales):
            reliability[scale] = Reliability.of(inputs.predictions.sufficient[:, s], sufficient[:, s])
        fallbacks = int(inputs.router.is_novel(inputs.predictions).sum())
    return Report(
        inputs=inputs,
        evaluation=evaluation,
        operating=operating,
        families=families,
        overall=overall,
        confusion=confusion,
        reliability=reliability,
        fallbacks=fallbacks,
        granularity=Granularity.of(table, evaluation.oracle, draws=evaluation.draws, seed=evaluation.seed),
        difficulty=measures(table, evaluation.oracle),
        shifts=shift_rows(inputs, evaluation, operating),
        reweighted=reweighted(table, evaluation, operating),
        provenance=provenance,
        corpus=corpus_rows(table, operating),
        datasets=datasets,
        field=field_measures(evaluation),
        certified=certified(inputs, draws=evaluation.draws, seed=evaluation.seed),
        importances=() if router is None else importances(router, table, evaluation.seed),
        own_cost=None if router is None else own_cost(router, table),
        times=times,
        peers=peers,
    )


def _families(
    table: OutcomeTable,
    evaluation: Evaluation,
    operating: PolicyResult | None,
    names: NDArray[np.str_],
) -> tuple[Family, ...]:
    named = np.where(names == "", UNNAMED, names)
    return tuple(
        _family(table, evaluation, operating, name, named == name) for name in np.unique(named).tolist()
    )


def _family(
    table: OutcomeTable,
    evaluation: Evaluation,
    operating: PolicyResult | None,
    name: str,
    members: NDArray[np.bool_],
) -> Family:
    rows = np.flatnonzero(members)
    scores, tokens = table.scores[rows], table.visual_tokens[rows].astype(np.float64)
    choice, n_scales = evaluation.oracle.choice[rows], len(table.scales)
    labels = np.bincount(np.where(choice < 0, n_scales, choice), minlength=n_scales + 1) / len(rows)
    zones = np.bincount(evaluation.oracle.zones[rows], minlength=len(ZONES)) / len(rows)
    spent = evaluation.oracle.resolved("smallest", n_scales)[rows]
    routed: dict[str, Any] = {}
    if operating is not None:
        chosen = operating.choice[rows].astype(np.int8)
        best = np.full(len(rows), evaluation.best, np.int8)
        both = Settings(name, "", (0.0, 1.0), np.stack([chosen, best]))
        measured = measure(
            [both],
            scores,
            {TOKENS: tokens},
            table.image_index[rows],
            draws=evaluation.draws,
            seed=evaluation.seed,
        )[0]
        draws = measured.accuracy_draws
        routed = {
            "router": float(measured.accuracy[0]),
            "router_tokens": float(measured.cost[TOKENS][0]),
            "versus_best": Estimate.of(
                measured.accuracy[0] - measured.accuracy[1], draws[:, 0] - draws[:, 1]
            ),
        }
    return Family(
        name=name,
        n=len(rows),
        n_images=len(np.unique(table.image_index[rows])),
        accuracy=tuple(scores.mean(axis=0).tolist()),
        oracle_accuracy=float(scores.max(axis=1).mean()),
        oracle_tokens=float(tokens[np.arange(len(rows)), spent].mean()),
        labels=tuple(labels.tolist()),
        zones=tuple(zones.tolist()),
        choice=choice_shares(choice, n_scales),
        non_monotone=float(falls_somewhere(scores).mean()),
        **routed,
    )
