"""``m3-train label --engine vllm``: the same labels by another language model, and a table that says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from data.records import OutcomeTable, read_outcomes
from m3_backbone import load_backbone, vllm
from m3_backbone.host import Host
from m3_backbone.model import M3Model
from m3_backbone.vllm_client import VllmOptionError
from tests.backbones import write_checkpoint
from tests.language_models import TorchClient
from training.cli.label import command

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("label") / "m3")


@pytest.fixture
def clients() -> list[TorchClient]:
    """Those that were opened."""
    return []


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkpoint: Path, clients: list[TorchClient]) -> Run:
    rng = np.random.default_rng(0)
    rows = []
    for image in ("a.png", "b.png", "c.png"):
        Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)).save(tmp_path / image)
        rows += [{"image": image, "question": f"What is {n}?", "answers": ["yes"]} for n in range(2)]
    data = tmp_path / "mine.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    app = typer.Typer()
    app.command()(command)

    def require_vllm(engine: str, options: dict[str, object]) -> None:
        if "unknown" in options:
            raise VllmOptionError("vLLM has no option unknown.")
        if engine.endswith(":9"):
            raise ModuleNotFoundError("No module named 'httpx'", name="httpx")

    def vllm_host(backbone: M3Model, engine: str, **asked: Any) -> Host:
        backbone.decoder.drop_layers()
        clients.append(TorchClient(load_backbone(checkpoint)))
        host = Host(clients[-1])
        host.open()
        return host

    monkeypatch.setattr(vllm, "require_vllm", require_vllm)
    monkeypatch.setattr(vllm, "vllm_host", vllm_host)

    def go(out: str, *arguments: str) -> tuple[int, str]:
        asked = ["--dataset", str(data), "--backbone", str(checkpoint), "--max-new-tokens", "4"]
        result = CliRunner().invoke(app, [*asked, "--out", str(tmp_path / out), *arguments])
        return result.exit_code, " ".join(result.output.split())

    return go


def test_the_labels_are_torchs_and_the_table_says_whose(
    run: Run, tmp_path: Path, clients: list[TorchClient]
) -> None:
    for out, engine in (("torch", ()), ("vllm", ("--engine", "vllm"))):
        code, text = run(out, *engine)
        assert code == 0, text
    (client,) = clients
    assert client.asked == 6 * 3
    assert client.streams == 0
    torchs, vllms = (read_outcomes(tmp_path / out) for out in ("torch", "vllm"))
    assert "engine" not in torchs.manifest
    assert vllms.manifest["engine"] == "vllm"
    assert said(vllms) == said(torchs)
    np.testing.assert_allclose(vllms.mean_logprob, torchs.mean_logprob, atol=1e-3)
    np.testing.assert_allclose(vllms.first_margin, torchs.first_margin, atol=1e-3)


def said(table: OutcomeTable) -> list[Any]:
    return [table.answers.tolist(), table.answer_tokens.tolist(), table.flops.tolist()]


def test_the_table_says_what_vllm_was_told_that_changes_its_numbers(run: Run, tmp_path: Path) -> None:
    told = ("--limit", "2", "--engine", "vllm", "--vllm", "seed=1", "--vllm", "quantization=fp8")
    code, text = run("out", *told)
    assert code == 0, text
    assert read_outcomes(tmp_path / "out").manifest["dtype"] == "float32 with quantization=fp8"
    code, text = run("out", *told[:4])
    assert code == 2
    assert "dtype was 'float32 with quantization=fp8' and is now 'float32'" in text


def test_a_table_of_torchs_is_not_continued_with_vllm(run: Run) -> None:
    assert run("out", "--limit", "4")[0] == 0
    code, text = run("out", "--limit", "4", "--engine", "vllm")
    assert code == 2
    assert "engine was None and is now 'vllm'" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--engine", "vllms"), "There is no engine 'vllms'. Take torch, vllm or vllm+http://HOST:PORT."),
        (("--engine", "vllm", "--vllm", "unknown=1"), "(--vllm): vLLM has no option unknown."),
        (("--engine", "vllm", "--vllm", "dtype=half"), "dtype is not to be chosen"),
        (("--engine", "vllm", "--compile"), "does not go with --ray or --compile"),
        (("--engine", "vllm+http://127.0.0.1:9"), "needs a package that is missing (httpx)"),
        (("--vllm", "seed=1"), "--vllm is for --engine vllm"),
    ],
)
def test_what_cannot_be_is_refused(run: Run, arguments: tuple[str, ...], message: str) -> None:
    code, text = run("out", *arguments)
    assert code == 2
    assert message in text
