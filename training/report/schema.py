"""The published schema of report.json: what other programs may rely on, as pydantic models.

``python -m training.report.schema > docs/report.schema.json`` writes it. Keys are not removed and do not
change their meaning without a new ``format_version``; new ones may come at any time, so readers ignore what
they do not know. Numbers that do not exist are null.
"""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from training.report.rows import FORMAT, FORMAT_VERSION

Number = float | None
Scale = Annotated[str, Field(pattern=r"^[0-9]+$", description="A scale, written out.")]
Interval = Annotated[list[Number], Field(min_length=2, max_length=2, description="95% interval, by image.")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Value(_Part):
    """A value with its interval."""

    value: Number
    ci: Interval


class Spread(_Part):
    """A mean over repeats with their standard deviation."""

    value: Number
    sd: Number


class Costs(_Part):
    """Means per question. flops: of the whole path on the table's backbone; flops_7b, ms_7b: the same
    requests on LLaVA-1.5-7B."""

    visual_tokens: Number
    flops: Number
    flops_7b: Number = None
    ms_7b: Number = None


class Fixed(Costs):
    accuracy: Number
    accuracy_ci: Interval


class OracleRule(Costs):
    n: int
    accuracy: Number


class Oracle(_Part):
    """none_sufficient: what is spent on questions that no scale answers."""

    accuracy: Number
    accuracy_ci: Interval
    none_sufficient: dict[Literal["smallest", "largest", "excluded"], OracleRule]
    none_sufficient_share: Number


class ReachableRule(Costs):
    accuracy: Number


class ReachableOracle(_Part):
    """Of two replicates; null without a second one."""

    accuracy: Value
    accuracy_rule: Literal["smallest", "largest"]
    none_sufficient: dict[Literal["smallest", "largest", "excluded"], ReachableRule]
    best_fixed_of_both: Value
    above_best_fixed: Value
    plain_of_both: Value
    luck: Value
    smaller_in_both: Value


class Headroom(_Part):
    accuracy_headroom_captured: Value
    token_headroom_captured: Value


class Policy(Costs):
    """A policy at one setting. role: why it is listed; chosen_on: where its setting comes from."""

    name: str
    target: Number
    target_is: str
    role: Literal["default", "budget", "thrifty", "accurate", "frontier", "accuracy_drop"]
    chosen_on: str
    accuracy: Number
    accuracy_ci: Interval
    visual_tokens_ci: Interval
    accuracy_headroom_captured: Number
    accuracy_headroom_captured_ci: Interval
    token_headroom_captured: Number
    token_headroom_captured_ci: Interval
    plain_oracle: Headroom
    versus_best_fixed: Value
    saved: dict[str, Value]
    gain_at_equal_tokens: dict[str, Value]


class AtTokens(_Part):
    visual_tokens: Number
    accuracy: dict[str, Number]
    gain: dict[str, Value]


class AtAccuracy(_Part):
    """The cost is under its own name."""

    below_best_fixed: Number
    accuracy: Number
    visual_tokens: dict[str, Number] | None = None
    flops: dict[str, Number] | None = None
    flops_7b: dict[str, Number] | None = None
    ms_7b: dict[str, Number] | None = None
    saved: dict[str, Value]


class MeanGain(_Part):
    visual_tokens: list[Number]
    over: dict[str, Value]


class PartOracle(_Part):
    accuracy: Number
    visual_tokens: Number


class PartRouter(_Part):
    accuracy: Number
    visual_tokens: Number
    versus_best_fixed: Value


class Part(_Part):
    """A family of questions, or a data set. labels: share by smallest sufficient scale, or none."""

    name: str
    n: int
    n_images: int
    accuracy: dict[Scale, Number]
    oracle: PartOracle
    labels: dict[str, Number]
    zones: dict[str, Number]
    oracle_choice: dict[Scale, Number]
    non_monotone: Number
    router: PartRouter | None


class Granularity(_Part):
    zones: dict[Literal["all-right", "scale-matters", "all-wrong"], Value]
    settled: Value
    non_monotone: Value
    oracle_choice: dict[Scale, Value]


class DifficultyBin(_Part):
    low: Number
    high: Number
    n: int
    labels: dict[str, Number]
    accuracy: dict[Scale, Number]


class Difficulty(_Part):
    name: str
    n: int
    families: list[str]
    bins: list[DifficultyBin]


class ShiftFixed(_Part):
    accuracy: Number
    visual_tokens: Number


class ShiftRouter(_Part):
    accuracy: Value
    visual_tokens: Value
    versus_full: Value
    share_of_full_tokens: Value
    novel: Number


class Shift(_Part):
    split: str
    n: int
    n_images: int
    fixed: dict[Scale, ShiftFixed]
    oracle_accuracy: Number
    router: ShiftRouter | None


class ReweightedRouter(_Part):
    accuracy: Value
    visual_tokens: Value
    versus_best_fixed: Value
    gain_at_equal_tokens: Value
    saved: Value


class Reweighted(_Part):
    benchmark: str
    weighting: str
    cells: int
    effective_n: Number
    paper: dict[Scale, Number]
    accuracy: dict[Scale, Number]
    residual: dict[Scale, Number]
    best_fixed_scale: int
    oracle: PartOracle
    router: ReweightedRouter | None


class Reliability(_Part):
    """Per bin that is not empty: mean prediction, observed share, size."""

    predicted: list[Number]
    observed: list[Number]
    sizes: list[int]
    ece: Number
    brier: Number
    base_rate: Number


class FieldMeasures(_Part):
    """RouteLLM's APGR and CPT, RouterBench's AIQ, of one curve. cpt: null where it is not reached."""

    name: str
    apgr: Value
    cpt: dict[str, Value]
    aiq: Value


class Certified(_Part):
    """One certificate, and what came of it on this split: loss_here."""

    loss: Literal["regret", "net", "agreement"]
    epsilon: Number
    delta: Number
    n_images: int
    bound: Number
    loss_here: Value
    visual_tokens: Value
    saved: Value
    broken: bool


class Importance(_Part):
    group: str
    columns: int
    brier_rise: Spread
    accuracy_fall: Spread


class OwnTime(_Part):
    """Of one routing decision on the machine that made the report."""

    median: Number
    p99: Number
    machine: str


class OwnCost(_Part):
    flops: Number
    flops_7b: Number
    predictor_flops: Number
    ms: OwnTime


class Times(_Part):
    """Where ms_7b comes from. measured: false for an estimate."""

    source: str
    measured: bool
    encode_ms: Number
    prompt_tokens: list[Number]
    prefill_ms: list[Number]
    decode_ms: list[Number]


class Peer(_Part):
    name: str
    seeds: int
    area: Value
    over_main: Value | None


class Peers(_Part):
    main: str
    visual_tokens: Interval
    commit: str
    candidates: list[Peer]


class Provenance(BaseModel):
    """What the report was made of and by; more may be there."""

    model_config = ConfigDict(extra="allow")

    command: str
    created: str
    commit: str | None
    uncommitted_changes: bool
    backbone: str
    backbone_fingerprint: str
    outcomes: dict[str, dict[Literal["manifest_sha256"], str]]
    bundle: dict[str, Any] | None
    seeds: dict[str, int]
    bootstrap_draws: int
    python: str
    versions: dict[str, str | None]


class PerImage(_Part):
    """Lists with an entry per image, in one order; sums over its questions. With them two reports are
    compared by a paired bootstrap."""

    image: list[str]
    questions: list[float]
    score: dict[str, list[float]]
    visual_tokens: dict[str, list[float]]


class ReportJson(_Part):
    """report.json of `m3-train report`."""

    format: Literal["m3-router-report"]
    format_version: Literal[1]
    n: int
    n_images: int
    split: str
    dataset: str
    headline: list[str]
    best_fixed_scale: int
    fixed: dict[Scale, Fixed]
    fixed_hull: list[int]
    oracle_kind: Literal["plain", "reachable"]
    oracle: Oracle
    reachable_oracle: ReachableOracle | None
    operating_point: Policy | None
    policies: list[Policy]
    at_equal_tokens: list[AtTokens]
    at_equal_accuracy: dict[str, list[AtAccuracy]]
    mean_gain: MeanGain
    families: list[Part]
    datasets: list[Part]
    corpus: list[dict[str, str | Number]]
    labels: dict[str, Number]
    zones: dict[str, Number]
    granularity: Granularity
    difficulty: list[Difficulty]
    shifts: list[Shift]
    reweighted: list[Reweighted]
    confusion: Annotated[
        list[list[int]] | None,
        Field(description="Rows: the oracle's scale, last: none is sufficient. Columns: the scale chosen."),
    ]
    reliability: dict[Scale, Reliability]
    fallbacks: int
    field_measures: list[FieldMeasures]
    certified: list[Certified]
    importances: list[Importance]
    own_cost: OwnCost | None
    times_7b: Times | None
    peers: Peers | None
    provenance: Provenance
    per_image: PerImage


def schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12."""
    found = ReportJson.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{FORMAT}, version {FORMAT_VERSION}",
        **{key: value for key, value in found.items() if key != "title"},
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(schema(), indent=1) + "\n")
