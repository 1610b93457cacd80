"""One more cost for an evaluation: the same as if it had been there from the first."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m3_backbone.cost import Architecture
from tests.reporting import DRAWS, report
from tests.test_training_report_replicates import perturbed
from training.evaluate import Evaluation, evaluate
from training.evaluation import resampling
from training.evaluation.pricing import price
from training.evaluation.results import FLOPS_7B
from training.report.extending import with_cost
from training.report.inputs import Inputs, contenders
from training.report.replicates import align


def both(*, router: bool, replicates: int) -> tuple[Evaluation, Evaluation]:
    """An evaluation with the 7B FLOPs, and one to which they were added."""
    inputs: Inputs = report(router=router).inputs
    table = inputs.table
    again = tuple(align(perturbed(table, seed), table, Path("dev+1")) for seed in range(replicates))
    found = [dataclasses.replace(c, charge={}, extra=tuple(map(_free, c.extra))) for c in contenders(inputs)]
    flops = price(table, Architecture.llava_7b())
    options: dict[str, Any] = {"tune": inputs.tune, "replicates": again, "draws": DRAWS}
    whole = evaluate(table, found, flops_7b=flops, **options)
    without = evaluate(table, found, **options)
    return whole, with_cost(without, table, FLOPS_7B, flops.astype(np.float64))


def _free(settings: Any) -> Any:
    return dataclasses.replace(settings, charge={})


def same(a: Any, b: Any) -> bool:
    """Equal to rounding, wherever numbers are."""
    if dataclasses.is_dataclass(a):
        names = [field.name for field in dataclasses.fields(a)]
        return type(a) is type(b) and all(same(getattr(a, n), getattr(b, n)) for n in names)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float | np.ndarray):
        return np.allclose(a, b, rtol=1e-6, atol=1e-12, equal_nan=True)
    return bool(a == b)


@pytest.mark.parametrize("router", [True, False])
@pytest.mark.parametrize("replicates", [0, 1, 2])
def test_a_cost_that_is_added_is_as_good_as_one_from_the_first(
    router: bool, replicates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In float32 what is tied may fall either way, by how a machine sums; ratios to next to nothing show it.
    monkeypatch.setattr(resampling, "SUMS", np.float64)
    whole, extended = both(router=router, replicates=replicates)
    for field in dataclasses.fields(Evaluation):
        assert same(getattr(whole, field.name), getattr(extended, field.name)), field.name


def test_the_comparison_of_these_tests_sees_a_difference() -> None:
    whole, extended = both(router=False, replicates=0)
    other = dataclasses.replace(extended.fixed, accuracy=extended.fixed.accuracy + 1e-3)
    assert not same(whole.fixed, other)
