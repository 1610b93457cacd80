"""``--engine vllm``: what is asked for reaches vLLM, and what stands against it is said in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import m3_backbone
from m3_backbone import vllm
from m3_backbone.types import EngineUnavailable
from m3_backbone.vllm_client import VllmOptionError
from m3_backbone.vllm_engine import VllmEngine
from router import ray_app
from router.cli.loading import load_engine
from router.settings import Settings, SettingsError
from tests.backbones import write_checkpoint
from tests.commandline import Run, is_one_line, runner


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Nothing that stands against vLLM may cost the loading of weights."""

    def load_backbone(*asked: object, **options: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setitem(vars(m3_backbone), "load_backbone", load_backbone)
    return runner(monkeypatch, capsys)


def test_settings_reach_vllm_and_the_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    got: dict[str, Any] = {}
    host: Any = object()

    def vllm_host(backbone: object, engine: str, **asked: Any) -> object:
        got.update(asked, engine=engine)
        return host

    monkeypatch.setattr(vllm, "vllm_host", vllm_host)
    monkeypatch.setattr(vllm, "require_vllm", lambda engine, options: None)
    words = "tensor_parallel_size=2 'kv_cache_dtype=fp8' enforce_eager=true"
    engine = load_engine(Settings(engine="vllm", vllm=words, cache_dir=tmp_path, batch_size=5, queue_size=7))
    assert isinstance(engine, VllmEngine)
    assert engine.host is host
    assert (engine.capacity.batch_size, engine.capacity.queue_size) == (5, 7)
    assert got == {
        "engine": "vllm",
        "options": {"tensor_parallel_size": 2, "kv_cache_dtype": "fp8", "enforce_eager": True},
        "cache": tmp_path,
        "batch_size": 5,
    }


def test_a_bundle_of_another_backbone_is_refused_before_vllm_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    started: list[object] = []
    monkeypatch.setattr(vllm, "vllm_host", lambda *asked, **options: started.append(asked))
    monkeypatch.setattr(vllm, "require_vllm", lambda engine, options: None)
    checkpoint = write_checkpoint(tmp_path / "m3")
    done = runner(monkeypatch, capsys)("serve", "--port", 0, "--engine", "vllm", "--backbone", checkpoint)
    assert is_one_line(done), done
    assert "`--bundle none` serves this backbone at its full scale." in done.err
    assert not started


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--engine", "vllm+ftp://a:1"), "M3_ENGINE has value 'vllm+ftp://a:1'. Take torch, vllm, vllm+http"),
        (
            ("--engine", "vllm", "--vllm", "eager"),
            "M3_VLLM has value 'eager'. 'eager' is no option",
        ),
        (("--engine", "vllm", "--compile"), "M3_COMPILE (--compile) is for the torch engine."),
        (("--engine", "vllm+http://a:1", "--vllm", "a=1"), "M3_VLLM (--vllm): A remote vLLM has the options"),
        (("--vllm", "a=1"), "M3_VLLM (--vllm) has value 'a=1', and M3_ENGINE 'torch': take vllm."),
        (("--ray", "--engine", "vllm"), "Ray gives a replica one device, and vLLM takes its own."),
    ],
)
def test_what_cannot_be_asked_for_is_refused(run: Run, arguments: tuple[str, ...], message: str) -> None:
    done = run("serve", "--port", 0, *arguments)
    assert is_one_line(done), done
    assert message in done.err


def test_a_file_for_serve_deploy_cannot_ask_for_vllm_in_replicas() -> None:
    with pytest.raises(SettingsError, match=r"Ray gives a replica one device, and vLLM takes its own\."):
        ray_app.build({"engine": "vllm"})


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ModuleNotFoundError("no", name="vllm"),
            "missing (vllm). Run `.venv/bin/python -m pip",
        ),
        (VllmOptionError("vLLM has no option a."), "M3_VLLM (--vllm): vLLM has no option a."),
        (
            EngineUnavailable("vLLM did not start: no GPU"),
            "M3_ENGINE (--engine) has value 'vllm'. vLLM",
        ),
        (
            PermissionError("Permission denied"),
            "cannot be written for vLLM (Permission denied)",
        ),
    ],
)
def test_what_goes_wrong_is_told_in_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def require_vllm(engine: str, options: object) -> None:
        raise error

    monkeypatch.setattr(vllm, "require_vllm", require_vllm)
    done = run("serve", "--port", 0, "--engine", "vllm")
    assert is_one_line(done), done
    assert message in done.err
