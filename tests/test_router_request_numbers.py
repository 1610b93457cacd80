"""The numbers of requests that are watched: the same for one request as for a table, recorded in bundles."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from m3_backbone.fake import LADDER
from router.drift import Reference
from router.input_arrays import OneRequest
from router.request_numbers import RECORDED, recorded, request_numbers, to_record
from tests.routing import outcomes, small_fit
from tests.test_router_service_quality import INPUTS


def test_a_request_is_described_by_a_few_numbers_and_nothing_that_it_says() -> None:
    numbers = request_numbers(OneRequest.of(INPUTS), LADDER)
    assert list(numbers) == [
        *("log2_pixels", "log2_aspect", "question_tokens"),
        *("lost_1", "lost_9", "lost_36", "lost_144", "energy"),
    ]
    assert numbers["log2_pixels"] == np.log2(32 * 24)
    assert numbers["question_tokens"] == 3
    assert all(values.shape == (1,) for values in numbers.values())


def test_a_table_is_described_row_by_row() -> None:
    table = outcomes(20, 3)
    numbers = request_numbers(table, LADDER)
    assert all(values.shape == (60,) for values in numbers.values())
    width, height = table.image_sizes[table.image_index[5]]
    assert numbers["log2_pixels"][5] == np.log2(width * height)
    assert numbers["question_tokens"][5] == len(table.question_tokens[5])


def test_what_was_recorded_is_read_again_and_anything_else_is_nothing() -> None:
    table = outcomes(50, 2)
    found = recorded(json.loads(json.dumps({RECORDED: to_record(table, LADDER)})))
    assert found["log2_pixels"] == Reference.of(request_numbers(table, LADDER)["log2_pixels"])
    wrong: tuple[dict[str, Any], ...] = (
        {},
        {RECORDED: 5},
        {RECORDED: {"a": 1}},
        {RECORDED: {"a": {"edges": [], "counts": []}}},
        {RECORDED: {"a": {"edges": [10**400], "counts": [1, 1]}}},
        {RECORDED: {"a": {"edges": ["1"], "counts": [1, 1]}}},
        {RECORDED: {"a": {"edges": [1.0], "counts": [1, 10**400]}}},
    )
    assert all(recorded(provenance) == {} for provenance in wrong)


def test_a_bundle_records_the_requests_that_it_was_calibrated_on() -> None:
    found = recorded(small_fit().bundle.provenance)
    assert "log2_pixels" in found
    assert all(sum(reference.counts) == 480 for reference in found.values())
