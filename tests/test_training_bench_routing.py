"""What routing takes is measured part by part, and the command says what it cannot do in a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from m3_backbone import embedded_path, load_backbone
from router import Router, embedded_bundle
from training.bench.routing import BOTH, FIRST, FURTHER, HIDDEN_7B, LARGE, OWN, ROUTER, main, measure, write


def test_both_grids_are_summarised_and_the_parts_add_up(tmp_path: Path) -> None:
    backbone = load_backbone(embedded_path())
    measured = measure(backbone, Router.load(embedded_bundle()), rounds=3, pictures=2, command="bench x")
    found = measured.json()
    assert found["rounds"] == 3
    assert found["grids"][OWN]["shape"] == [24, 24, backbone.architecture.hidden]
    assert found["grids"][LARGE]["shape"] == [24, 24, HIDDEN_7B]
    for grid, parts in measured.microseconds.items():
        assert {*parts} == {FIRST, FURTHER, ROUTER, BOTH}
        assert all(len(times) == 3 and min(times) > 0 for times in parts.values())
        for first, route, both in zip(parts[FIRST], parts[ROUTER], parts[BOTH], strict=True):
            assert both == pytest.approx(first + route)
        assert found["grids"][grid]["us"][BOTH]["p50"] == pytest.approx(sorted(parts[BOTH])[1], abs=0.1)
    assert found["batch"]["requests"] == 64
    write(measured, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "routing-bench.json").read_text("utf-8")) == found
    page = (tmp_path / "out" / "routing-bench.md").read_text("utf-8")
    assert f"| {LARGE}, 24 x 24 x {HIDDEN_7B} | {BOTH} |" in page
    assert "Made by `bench x`" in page


@pytest.mark.parametrize(
    ("arguments", "said"), [(["--rounds", "0"], "at least one"), (["--bundle", "nowhere"], "nowhere")]
)
def test_what_cannot_be_measured_is_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert said in told
