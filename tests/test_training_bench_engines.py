"""Both engines answer the same requests to the same length, and the rates are theirs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from m3_backbone import load_backbone
from m3_backbone.host import Host
from m3_backbone.model import M3Model
from tests.backbones import write_checkpoint
from tests.language_models import TorchClient
from training.bench.engines import main, measure, write


def test_every_answer_has_its_length_and_both_engines_give_the_same(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "m3")

    def open_host(backbone: M3Model) -> Host:
        backbone.decoder.drop_layers()
        return Host(TorchClient(load_backbone(checkpoint)))

    measured = measure(
        lambda: load_backbone(checkpoint), open_host, requests=5, new_tokens=3, repeats=2, command="bench x"
    )
    found = measured.json()
    assert (found["requests"], found["new_tokens"], found["alike"]) == (5, 15, 5)
    assert found["seconds"].keys() == found["new_tokens_per_s"].keys() == {"torch", "vllm"}
    assert all(len(turns) == 2 and min(turns) > 0 for turns in found["seconds"].values())
    write(measured, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "engines-bench.json").read_text("utf-8")) == found
    page = (tmp_path / "out" / "engines-bench.md").read_text("utf-8")
    for engine, rate in found["new_tokens_per_s"].items():
        assert f"| {engine} | {rate:.1f} |" in page
    assert "Made by `bench x`" in page


def test_an_option_that_is_not_ours_to_give_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--vllm", "dtype=half"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
