"""Parts of the schema of report.json: values, costs, fixed scales, oracles, policies, comparisons."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Number = float | None
Scale = Annotated[str, Field(pattern=r"^[0-9]+$", description="A scale, written out.")]
Interval = Annotated[list[Number], Field(min_length=2, max_length=2, description="95% interval, by image.")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Value(Strict):
    """A value with its interval."""

    value: Number
    ci: Interval


class Spread(Strict):
    """A mean over repeats with their standard deviation."""

    value: Number
    sd: Number


class Costs(Strict):
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


class Oracle(Strict):
    """none_sufficient: what is spent on questions that no scale answers."""

    accuracy: Number
    accuracy_ci: Interval
    none_sufficient: dict[Literal["smallest", "largest", "excluded"], OracleRule]
    none_sufficient_share: Number


class ReachableRule(Costs):
    accuracy: Number


class ReachableOracle(Strict):
    """Of two replicates or more, which the table reported on counts among; null without a second one.

    ..._of_all: a mean over all of them. ..._chosen_on_one: had one alone chosen, not all but one.
    """

    accuracy: Value
    accuracy_rule: Literal["smallest", "largest"]
    none_sufficient: dict[Literal["smallest", "largest", "excluded"], ReachableRule]
    replicates: int
    best_fixed_of_all: Value
    above_best_fixed: Value
    above_best_fixed_chosen_on_one: Value
    plain_of_all: Value
    luck: Value
    smaller_in_both: Value


class Headroom(Strict):
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


class AtTokens(Strict):
    visual_tokens: Number
    accuracy: dict[str, Number]
    gain: dict[str, Value]


class AtAccuracy(Strict):
    """The cost is under its own name."""

    below_best_fixed: Number
    accuracy: Number
    visual_tokens: dict[str, Number] | None = None
    flops: dict[str, Number] | None = None
    flops_7b: dict[str, Number] | None = None
    ms_7b: dict[str, Number] | None = None
    saved: dict[str, Value]
