"""``doctor``: what is installed, what loads, whether it matches, and the exit code."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from m3_backbone.fake import FakeEngine
from m3_backbone.types import EncodedImage, EngineError
from router.certificates import Certificate, Certificates
from router.constraints import LOSSES, LossName
from tests.commandline import Run, runner
from tests.routing import small_fit


def _certificate(loss: LossName, epsilon: float) -> Certificate:
    return Certificate(loss, epsilon, 0.05, 1250, 299, None, 0.0, 576.0)


CERTIFICATES = Certificates(
    accuracy=(*(_certificate(loss, epsilon) for loss in LOSSES[:2] for epsilon in (0.02, 0.01)),),
    cascade=(_certificate("regret", 0.05),),
    max_new_tokens=16,
)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


def states(out: str) -> dict[str, str]:
    return {check["name"]: check["state"] for check in json.loads(out)["checks"]}


def test_the_fake_engine_is_well_without_a_bundle(run: Run) -> None:
    done = run("doctor", "--engine", "fake")
    assert done.code == 0, done.out
    assert done.out.splitlines()[-1] == "All is well."
    assert f"ok     m3-router     {version('m3-router')}" in done.out
    for word in ("torch", "onnxruntime", "backbone", "bundle", "answer"):
        assert word in done.out


def test_a_bundle_of_another_backbone_is_a_fault_and_the_rest_is_still_checked(
    run: Run, tmp_path: Path
) -> None:
    small_fit().bundle.write(tmp_path / "bundle")
    done = run("doctor", "--engine", "fake", "--bundle", tmp_path / "bundle", "--json")
    found = states(done.out)
    assert done.code == 1
    assert json.loads(done.out)["ok"] is False
    assert (found["backbone"], found["bundle"], found["match"], found["answer"]) == (
        "ok",
        "ok",
        "fault",
        "ok",
    )


@pytest.mark.parametrize(
    ("variable", "value", "state", "words"),
    [
        ("M3_TOKEN_BUDGET", "0.001", "fault", "M3_TOKEN_BUDGET: token_budget 0.001 cannot be met"),
        ("M3_CASCADE", "true", "fault", "The bundle has no second look"),
        ("M3_ACCURACY_DROP", "0.02", "note", "no certificate of this router covers that"),
        ("M3_PRICE", "0.01", "ok", "The router can do"),
    ],
)
def test_defaults_that_the_router_cannot_keep_are_named(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    state: str,
    words: str,
) -> None:
    small_fit().bundle.write(tmp_path / "bundle")
    monkeypatch.setenv(variable, value)
    done = run("doctor", "--engine", "fake", "--bundle", tmp_path / "bundle", "--json")
    assert states(done.out)["defaults"] == state
    assert words in next(c["text"] for c in json.loads(done.out)["checks"] if c["name"] == "defaults")


def test_the_steps_that_an_accuracy_drop_snaps_down_to_are_listed(run: Run, tmp_path: Path) -> None:
    bundle = small_fit().bundle
    for folder, certificates in (("bare", Certificates()), ("certified", CERTIFICATES)):
        replace(bundle, certificates=certificates).write(tmp_path / folder)
    bare = run("doctor", "--engine", "fake", "--bundle", tmp_path / "bare")
    assert "None: with an accuracy_drop the full scale answers." in bare.out
    told = run("doctor", "--engine", "fake", "--bundle", tmp_path / "certified").out
    assert (
        "An accuracy_drop snaps down to 0.01, 0.02 at delta 0.05 (regret, net); "
        "to 0.05 at delta 0.05 (regret with a cascade)." in told
    )


def test_certificates_of_another_dtype_than_the_one_served_in_are_a_note(run: Run, tmp_path: Path) -> None:
    replace(small_fit().bundle, certificates=CERTIFICATES).write(tmp_path / "b")
    done = run("doctor", "--engine", "fake", "--bundle", tmp_path / "b", "--dtype", "bfloat16", "--json")
    assert states(done.out)["defaults"] == "note"
    assert "certified with answers in float32: no decision is certified" in done.out
    assert (
        states(run("doctor", "--engine", "fake", "--bundle", tmp_path / "b", "--json").out)["defaults"]
        == "ok"
    )


def test_backbone_and_bundle_that_are_missing_are_both_named(run: Run, tmp_path: Path) -> None:
    done = run("doctor", "--backbone", tmp_path / "b", "--bundle", tmp_path / "c")
    assert done.code == 1
    assert done.out.splitlines()[-1] == "2 faults."


def test_no_bundle_asked_for_is_a_note(run: Run) -> None:
    done = run("doctor", "--engine", "fake", "--bundle", "none", "--json")
    assert done.code == 0
    assert states(done.out)["bundle"] == "note"


def test_a_package_that_is_missing_is_a_fault_only_when_serving_needs_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name in ("onnxruntime", "lightgbm"):
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr("router.cli.doctor.version", version)
    done = run("doctor", "--engine", "fake", "--json")
    assert (states(done.out)["onnxruntime"], states(done.out)["lightgbm"]) == ("fault", "note")
    for what in (".", "'.[train]'"):
        assert f"Not installed. `.venv/bin/python -m pip install -e {what}` brings it." in done.out
    assert done.code == 1


def test_a_misspelt_variable_is_noted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M3_PROT", "1")
    assert "Did you mean M3_PORT?" in run("doctor", "--engine", "fake").out


def test_an_engine_that_does_not_answer_is_a_fault(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def encode_in(self: FakeEngine, *picture: object) -> EncodedImage:
        raise EngineError("no")

    monkeypatch.setattr(FakeEngine, "encode_in", encode_in)
    done = run("doctor", "--engine", "fake", "--json")
    assert (done.code, states(done.out)["answer"]) == (1, "fault")
