from __future__ import annotations

import pytest

from data.builder import TableBuilder
from data.records import Outcome, RecordError
from m3_backbone.scales import Ladder
from tests.labelling import MANIFEST, route_inputs, samples


def outcome(scale: int) -> Outcome:
    return Outcome("s", scale, "yes", 1.0, scale, 3, 1, -0.5, -0.5, 0.5, 1)


def test_the_builder_refuses_what_does_not_fit_together() -> None:
    sample = samples(1, 1)[0]
    inputs = route_inputs("a", "q")
    builder = TableBuilder(MANIFEST)
    with pytest.raises(RecordError, match="no sample"):
        builder.build()
    with pytest.raises(RecordError, match=r"outcomes at the scales \[1, 9\]; the ladder is \[1, 9, 36\]"):
        builder.add(sample, inputs, [outcome(9), outcome(1)])
    builder.add(sample, inputs, [outcome(36), outcome(9), outcome(1)])
    assert len(builder) == 1
    with pytest.raises(RecordError, match="its ladder differs"):
        builder.add(sample, route_inputs("a", "q", Ladder((1, 9))), [outcome(1), outcome(9)])
    with pytest.raises(RecordError, match="not the one that image id 'toy/0' had"):
        builder.add(sample, route_inputs("b", "q"), [outcome(s) for s in (1, 9, 36)])
