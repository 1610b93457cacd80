"""Backbones and bundles that cannot be loaded are refused in one line, by every verb."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import m3_backbone
from m3_backbone.fake import FakeEngine
from m3_backbone.scales import Ladder
from m3_backbone.types import CheckpointError
from router.bundle import PREDICTOR
from router.certificates import NOTHING, Certificate, Certificates, Setting
from router.cli.loading import load_engine, load_router, unproven
from router.cli.serve import _router
from router.router import Router
from router.settings import Settings, SettingsError
from tests.commandline import Run, is_one_line, runner
from tests.routing import small_fit
from tests.serving import picture


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    small_fit().bundle.write(folder)
    return folder


def test_a_bundle_of_another_backbone_is_refused_with_the_remedy(run: Run, bundle: Path) -> None:
    done = run("serve", "--engine", "fake", "--port", 0, "--bundle", bundle)
    assert is_one_line(done), done
    assert "The bundle was made for backbone 'synthetic'" in done.err
    assert "--bundle none" in done.err


def test_a_corrupted_predictor_is_refused(run: Run, bundle: Path) -> None:
    path = bundle / PREDICTOR
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    done = run("serve", "--engine", "fake", "--port", 0, "--bundle", bundle)
    assert is_one_line(done), done
    assert PREDICTOR in done.err


def test_a_pickle_given_as_a_bundle_is_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "router.pkl"
    path.write_bytes(b"\x80\x04N.")
    assert is_one_line(run("serve", "--engine", "fake", "--port", 0, "--bundle", path))


def test_a_checkpoint_that_is_not_there_is_refused(run: Run, tmp_path: Path) -> None:
    done = run("serve", "--port", 0, "--backbone", tmp_path / "checkpoint")
    assert is_one_line(done), done
    assert "checkpoint" in done.err


def test_a_missing_package_is_named_with_the_command_that_brings_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_backbone(*args: object, **options: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setitem(vars(m3_backbone), "load_backbone", load_backbone)
    done = run("serve", "--port", 0)
    assert is_one_line(done), done
    assert "missing (torch). Run `.venv/bin/python -m pip install -e .` in the project's folder" in done.err


def test_a_port_that_is_taken_is_refused_before_weights_are_loaded(run: Run) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", "--port", port, "--backbone", "nowhere")
    assert is_one_line(done), done
    assert f"Cannot listen on 127.0.0.1:{port} (Address already in use)." in done.err


def test_a_host_that_is_no_name_is_refused(run: Run) -> None:
    done = run("serve", "--engine", "fake", "--host", "a" * 70 + ".example")
    assert is_one_line(done), done
    assert "Cannot listen on aaa" in done.err


def test_a_token_budget_that_the_router_never_keeps_is_refused_at_the_start(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smallest = small_fit().bundle.prices.mean_tokens[-1]
    engine = FakeEngine(fingerprint="synthetic")
    values = Settings(engine="fake", bundle=str(bundle), token_budget=smallest)
    assert load_router(values, engine) is not None
    with pytest.raises(SettingsError, match=r"M3_TOKEN_BUDGET: token_budget .* cannot be met"):
        load_router(values.model_copy(update={"token_budget": smallest / 2}), engine)


def _operated(bundle: Path, certificates: Certificates = NOTHING, **values: Any) -> tuple[Settings, Router]:
    """Settings of an operator, and the router that they are for."""
    router = Router.of(replace(small_fit().bundle, certificates=certificates))
    return Settings(engine="fake", bundle=str(bundle), accuracy_drop=0.02, **values), router


@pytest.mark.parametrize(
    ("setting", "limit", "sentence"),
    [
        (Setting(0.001), 32, None),
        (None, 32, "nothing cheaper passed for a drop of 0.02 on 1250 images"),
        (Setting(0.001), 8, "M3_MAX_NEW_TOKENS has value '8'.* answers of up to 16 tokens"),
    ],
)
def test_an_accuracy_drop_that_nobody_gets_is_told(
    bundle: Path, setting: Setting | None, limit: int, sentence: str | None
) -> None:
    accuracy = (Certificate("regret", 0.02, 0.05, 1250, 299, setting, 0.01, 40.0),)
    values, router = _operated(bundle, Certificates(accuracy, max_new_tokens=16), max_new_tokens=limit)
    told = unproven(values, router)
    assert told is None if sentence is None else re.search(sentence, told or "")


@pytest.mark.parametrize(("dtype", "of"), [("bfloat16", "float32"), ("float32", "bfloat16")])
def test_certificates_of_another_dtype_are_told_of_whether_a_drop_is_usual_or_not(
    bundle: Path, dtype: str, of: str
) -> None:
    accuracy = (Certificate("regret", 0.02, 0.05, 1250, 299, Setting(0.001), 0.01, 40.0),)
    values, router = _operated(bundle, Certificates(accuracy, max_new_tokens=16, dtype=of), dtype=dtype)
    for each in (values, values.model_copy(update={"accuracy_drop": None})):
        told = unproven(each, router) or ""
        assert f"M3_DTYPE has value '{dtype}', and the router was certified with answers in {of}" in told
    assert unproven(values.model_copy(update={"dtype": of}), router) is None
    without = Router.of(replace(router.bundle, certificates=NOTHING))
    assert unproven(values.model_copy(update={"accuracy_drop": None}), without) is None


def test_certificates_of_another_quantisation_are_told_of(bundle: Path) -> None:
    accuracy = (Certificate("regret", 0.02, 0.05, 1250, 299, Setting(0.001), 0.01, 40.0),)
    values, router = _operated(bundle, Certificates(accuracy, max_new_tokens=16))
    values = values.model_copy(update={"engine": "vllm", "vllm": "quantization=fp8"})
    assert unproven(values, router) == (
        "M3_DTYPE has value 'float32' and M3_VLLM 'quantization=fp8', and the router was certified with "
        "answers in float32: no decision is certified. Label in float32 with quantization=fp8 and certify "
        "again, or serve in float32."
    )
    labelled = Certificates(accuracy, max_new_tokens=16, dtype=values.computed_in)
    assert unproven(values, Router.of(replace(router.bundle, certificates=labelled))) is None


def test_serve_tells_it_in_the_log(bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = Settings(engine="fake", bundle=str(bundle), accuracy_drop=0.02)
    assert _router(values, FakeEngine(fingerprint="synthetic")) is not None
    assert "M3_ACCURACY_DROP has value '0.02', and no certificate of this router covers that" in caplog.text


def test_without_a_drop_certificates_are_nobodys_business(bundle: Path) -> None:
    values, router = _operated(bundle)
    assert "no certificate of this router covers that" in (unproven(values, router) or "")
    assert unproven(values.model_copy(update={"accuracy_drop": None}), router) is None


def test_a_device_that_torch_does_not_have_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_backbone(*args: object, **options: object) -> None:
        raise AssertionError("Torch not compiled with CUDA enabled")

    monkeypatch.setitem(vars(m3_backbone), "load_backbone", load_backbone)
    monkeypatch.setenv("M3_DEVICE", "cuda")
    done = run("serve", "--port", 0)
    assert is_one_line(done), done
    assert "M3_DEVICE has value 'cuda'. It cannot be used: Torch not compiled" in done.err


FLAGS = (
    *("--device", "cuda:1", "--dtype", "bfloat16", "--compile", "--kv-budget", 2**20),
    *("--prompt-limit", 512, "--reducer", "spatial", "--ladder", "36,1,9", "--vision-tower", "clip"),
)
VARIABLES = {
    "M3_DEVICE": "cuda:1",
    "M3_DTYPE": "bfloat16",
    "M3_COMPILE": "true",
    "M3_KV_BUDGET_BYTES": str(2**20),
    "M3_PROMPT_LIMIT": "512",
    "M3_REDUCER": "spatial",
    "M3_LADDER": "36,1,9",
    "M3_VISION_TOWER": "clip",
}


@pytest.mark.parametrize("way", ["serve", "ask", "environment"])
def test_how_the_backbone_runs_is_asked_for_by_flags_or_variables(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    got: dict[str, Any] = {}

    def load_backbone(path: str, **options: object) -> None:
        got.update(options)
        raise CheckpointError("That is enough.")

    monkeypatch.setitem(vars(m3_backbone), "load_backbone", load_backbone)
    (tmp_path / "image.png").write_bytes(picture())
    if way == "environment":
        for name, value in VARIABLES.items():
            monkeypatch.setenv(name, value)
    asked = ("ask", tmp_path / "image.png", "What?") if way == "ask" else ("serve", "--port", 0)
    done = run(*asked, *(() if way == "environment" else FLAGS))
    assert is_one_line(done), done
    assert "That is enough." in done.err
    assert got == {
        "device": "cuda:1",
        "dtype": "bfloat16",
        "compiled": True,
        "kv_budget_bytes": 2**20,
        "prompt_limit": 512,
        "reducer": "spatial",
        "ladder": Ladder((1, 9, 36)),
        "vision_tower": "clip",
        "conversation": None,
    }


def test_a_limit_that_the_model_cannot_keep_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_backbone(path: str, **options: object) -> None:
        raise ValueError("prompt_limit is 99999; it must be 1 to 2048, the model's positions.")

    monkeypatch.setitem(vars(m3_backbone), "load_backbone", load_backbone)
    done = run("serve", "--port", 0, "--prompt-limit", 99999)
    assert is_one_line(done), done
    assert "'tiny' cannot run as asked for. prompt_limit is 99999; it must be 1 to 2048" in done.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--reducer", "median"), "M3_REDUCER has value 'median'."),
        (("--kv-budget", 0), "M3_KV_BUDGET_BYTES has value '0'."),
        (("--prompt-limit", -1), "M3_PROMPT_LIMIT has value '-1'."),
        (("--dtype", "int8"), "M3_DTYPE has value 'int8'."),
        (("--ladder", "1,8"), "M3_LADDER has value '1,8'. Scale 8 is not a square number"),
        (("--ladder", "all"), "M3_LADDER has value 'all'. The ladder 'all' is not made of numbers"),
    ],
)
def test_flags_that_cannot_be_used_are_named(run: Run, flags: tuple[object, ...], message: str) -> None:
    done = run("serve", "--port", 0, *flags)
    assert is_one_line(done), done
    assert message in done.err


def test_a_wrong_port_is_named(run: Run) -> None:
    done = run("serve", "--port", 70000)
    assert is_one_line(done), done
    assert "M3_PORT has value '70000'." in done.err


def test_help_names_every_verb(run: Run) -> None:
    done = run("--help")
    assert done.code == 0
    for verb in ("serve", "ask", "route", "bench", "doctor", "openapi"):
        assert verb in done.out


def test_the_fake_engine_takes_the_time_that_it_is_told_to() -> None:
    engine = load_engine(Settings(engine="fake", fake_token_s=0.25))
    assert isinstance(engine, FakeEngine)
    assert engine.fake.token_delay_s == 0.25
