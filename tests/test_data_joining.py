from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data.joining import concat
from data.records import RecordError
from tests.labelling import assert_equal, table


def test_concat_of_the_parts_is_the_whole() -> None:
    assert_equal(concat([table(3, 2), table(2, 2, first=3)]), table(5, 2))
    alone = table()
    assert concat([alone]) is alone


def test_concat_merges_images_that_two_tables_share() -> None:
    whole = table(3, 2)
    odd, even = whole.take(np.arange(6) % 2 == 1), whole.take(np.arange(6) % 2 == 0)
    joined = concat([even, odd])
    assert joined.image_ids == whole.image_ids
    assert joined.image_index.tolist() == [0, 1, 2, 0, 1, 2]
    np.testing.assert_array_equal(joined.route_inputs(4).pooled, whole.route_inputs(3).pooled)


def test_concat_joins_what_may_differ_and_fills_difficulties_that_one_lacks() -> None:
    a, b = table(2, 1), table(2, 2, first=5, split="tune", seeds={"b": 1})
    joined = concat([a, b])
    assert joined.manifest["split"] == "dev+tune"
    assert joined.manifest["seeds"] == {"b": 1}
    assert np.isnan(joined.difficulty["count"][:2]).all()
    assert joined.difficulty["count"][3] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone_fingerprint": "other"}, "backbone_fingerprint is 'fake-1' in one and 'other'"),
        ({"prompt": "vicuna_v1"}, "prompt is 'plain'"),
    ],
)
def test_concat_refuses_tables_of_another_run(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        concat([table(), table(first=10, **change)])


def test_concat_refuses_other_scales_repeated_samples_and_clashing_images() -> None:
    t = table()
    with pytest.raises(RecordError, match="ladder is"):
        concat([t, replace(table(first=10), manifest={**t.manifest, "ladder": [1, 9]})])
    with pytest.raises(RecordError, match="their scales differ"):
        concat([t, replace(table(first=10), scales=(1, 9, 144))])
    with pytest.raises(RecordError, match="'toy/0/0' comes twice"):
        concat([t, t])
    other = replace(table(first=10), image_ids=t.image_ids)
    with pytest.raises(RecordError, match="'toy/0' names two different images"):
        concat([t, other])
    with pytest.raises(RecordError, match="no table"):
        concat([])
