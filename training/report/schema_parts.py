"""Parts of the schema of report.json: what it says of the data, of the router, and where it comes from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from training.report.schema_policies import Interval, Number, Scale, Spread, Strict, Value


class MeanGain(Strict):
    visual_tokens: list[Number]
    over: dict[str, Value]


class PartOracle(Strict):
    accuracy: Number
    visual_tokens: Number


class PartRouter(Strict):
    accuracy: Number
    visual_tokens: Number
    versus_best_fixed: Value


class Part(Strict):
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


class Granularity(Strict):
    zones: dict[Literal["all-right", "scale-matters", "all-wrong"], Value]
    settled: Value
    non_monotone: Value
    oracle_choice: dict[Scale, Value]


class DifficultyBin(Strict):
    low: Number
    high: Number
    n: int
    labels: dict[str, Number]
    accuracy: dict[Scale, Number]


class Difficulty(Strict):
    name: str
    n: int
    families: list[str]
    bins: list[DifficultyBin]


class ShiftFixed(Strict):
    accuracy: Number
    visual_tokens: Number


class ShiftRouter(Strict):
    accuracy: Value
    visual_tokens: Value
    versus_full: Value
    share_of_full_tokens: Value
    novel: Number
    good: Annotated[
        bool | None,
        Field(description="Within 2 points of the largest scale at no more than half its tokens: empirical."),
    ]
    clear: Annotated[bool | None, Field(description="Whether the 95% intervals by image say the same.")]


class Shift(Strict):
    split: str
    n: int
    n_images: int
    fixed: dict[Scale, ShiftFixed]
    oracle_accuracy: Number
    judged: Annotated[
        bool, Field(description="Neither the split reported on nor one on which novelty may be tuned.")
    ]
    router: ShiftRouter | None
    hybrid: ShiftRouter | None
    router_certified: Annotated[
        ShiftRouter | None,
        Field(description="As certified for a net drop of 2 points; null where another was asked for."),
    ] = None
    hybrid_certified: ShiftRouter | None = None


class ReweightedRouter(Strict):
    accuracy: Value
    visual_tokens: Value
    versus_best_fixed: Value
    gain_at_equal_tokens: Value
    saved: Value


class Reweighted(Strict):
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


class Reliability(Strict):
    """Per bin that is not empty: mean prediction, observed share, size."""

    predicted: list[Number]
    observed: list[Number]
    sizes: list[int]
    ece: Number
    brier: Number
    base_rate: Number


class FieldMeasures(Strict):
    """RouteLLM's APGR and CPT, RouterBench's AIQ, of one curve. cpt: null where it is not reached."""

    name: str
    apgr: Value
    cpt: dict[str, Value]
    aiq: Value


class Certified(Strict):
    """One certificate, and what came of it on this split: loss_here. cascade: answers are thought over."""

    loss: Literal["regret", "net", "agreement"]
    epsilon: Number
    delta: Number
    n_images: int
    bound: Number
    cascade: bool
    loss_here: Value
    visual_tokens: Value
    saved: Value
    broken: bool


class Importance(Strict):
    group: str
    columns: int
    brier_rise: Spread
    accuracy_fall: Spread


class OwnTime(Strict):
    """Of one routing decision on the machine that made the report."""

    median: Number
    p99: Number
    machine: str


class OwnCost(Strict):
    flops: Number
    flops_7b: Number
    predictor_flops: Number
    ms: OwnTime


class Times(Strict):
    """Where ms_7b comes from. measured: false for an estimate."""

    source: str
    measured: bool
    encode_ms: Number
    prompt_tokens: list[Number]
    prefill_ms: list[Number]
    decode_ms: list[Number]


class Peer(Strict):
    name: str
    seeds: int
    area: Value
    over_main: Value | None


class Peers(Strict):
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


class PerImage(Strict):
    """Lists with an entry per image, in one order; sums over its questions. With them two reports are
    compared by a paired bootstrap."""

    image: list[str]
    questions: list[float]
    score: dict[str, list[float]]
    visual_tokens: dict[str, list[float]]
