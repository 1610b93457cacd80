"""The published schema of report.json: what other programs may rely on, as pydantic models.

``python -m training.report.schema > docs/report.schema.json`` writes it. Keys are not removed and do not
change their meaning without a new ``format_version``; new ones may come at any time, so readers ignore what
they do not know. Numbers that do not exist are null.
"""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any, Literal

from pydantic import Field

from training.report.rows import FORMAT, FORMAT_VERSION
from training.report.schema_parts import (
    Certified,
    Difficulty,
    FieldMeasures,
    Granularity,
    Importance,
    MeanGain,
    OwnCost,
    Part,
    Peers,
    PerImage,
    Provenance,
    Reliability,
    Reweighted,
    Shift,
    Times,
)
from training.report.schema_policies import (
    AtAccuracy,
    AtTokens,
    Fixed,
    Number,
    Oracle,
    Policy,
    ReachableOracle,
    Scale,
    Strict,
)


class ReportJson(Strict):
    """report.json of `m3-train report`."""

    format: Literal["m3-router-report"]
    format_version: Literal[2]
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
