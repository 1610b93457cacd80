"""A few numbers that describe a request, whose distribution is watched: how large its picture is, what
pooling loses of it, how long its question is. A bundle records how they were distributed on ``tune``.

Nothing of what a picture shows or a question says is in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from m3_backbone.scales import Ladder
from router.drift import Float64, Reference
from router.input_arrays import InputArrays

RECORDED = "requests"
"""Where a bundle's provenance holds the references."""


def request_numbers(inputs: InputArrays, ladder: Ladder) -> dict[str, Float64]:
    """Name -> [n]; statistics of the grid are those of these names that the backbone has."""
    width, height = np.maximum(inputs.image_sizes[inputs.image_index], 1).astype(np.float64).T
    numbers = {
        "log2_pixels": np.log2(width * height),
        "log2_aspect": np.log2(width / height),
        "question_tokens": np.array([len(tokens) for tokens in inputs.question_tokens], np.float64),
    }
    wanted = {"energy", *(f"lost_{scale}" for scale in ladder)}
    for column, name in enumerate(inputs.grid_stat_names):
        if name in wanted:
            numbers[name] = inputs.grid_stats[inputs.image_index, column].astype(np.float64)
    return numbers


def to_record(inputs: InputArrays, ladder: Ladder) -> dict[str, Any]:
    """The references of ``inputs``, for a bundle's provenance."""
    return {
        name: Reference.of(values).to_json()
        for name, values in request_numbers(inputs, ladder).items()
        if len(values) and np.isfinite(values).all()
    }


def recorded(provenance: Mapping[str, Any]) -> dict[str, Reference]:
    """What `to_record` put into ``provenance``; empty when there is nothing, or something else."""
    try:
        return {name: Reference.from_json(value) for name, value in provenance[RECORDED].items()}
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        return {}
