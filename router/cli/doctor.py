"""``m3-router doctor``: what is installed, which backbone and bundle load, and whether they match."""

from __future__ import annotations

import asyncio
import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from m3_backbone.types import Engine, EngineError
from router import Router, embedded_bundle
from router.cli.loading import check_usual, deadline, load_engine, unproven
from router.cli.options import Backbone, BundleOption, Device, Dtype, EngineOption
from router.cli.pictures import generated
from router.constraints import Constraints
from router.errors import M3Error
from router.service.pipeline import Pipeline
from router.settings import Settings, unknown_variables
from router.targets import told_steps

_SERVING = (
    "m3-router",
    "torch",
    "transformers",
    "onnxruntime",
    "numpy",
    "pillow",
    "fastapi",
    "uvicorn",
    "pydantic",
)
_TRAINING = ("lightgbm", "scikit-learn", "skl2onnx", "onnxmltools")
EXIT_FAULT = 1


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. state: ``ok``, ``note`` (nothing is broken) or ``fault`` (exit code 1)."""

    name: str
    state: str
    text: str


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
    backbone: Backbone = None,
    bundle: BundleOption = None,
    engine: EngineOption = None,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Check the installation, the backbone, the bundle, and that one question is answered."""
    settings = Settings.load(backbone=backbone, bundle=bundle, engine=engine, device=device, dtype=dtype)
    checks = list(findings(settings))
    faults = sum(check.state == "fault" for check in checks)
    if as_json:
        typer.echo(json.dumps({"ok": not faults, "checks": [asdict(check) for check in checks]}))
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            typer.echo(f"{check.state:5}  {check.name:{width}}  {check.text}")
        typer.echo("All is well." if not faults else f"{faults} fault{'s' if faults > 1 else ''}.")
    if faults:
        raise typer.Exit(EXIT_FAULT)


def findings(settings: Settings) -> Iterator[Check]:
    """Every check in turn; later ones are left out when what they need did not load."""
    yield Check("python", "ok", platform.python_version())
    for names, missing in ((_SERVING, "fault"), (_TRAINING, "note")):
        for name in names:
            yield _package(name, missing)
    for sentence in unknown_variables(os.environ):
        yield Check("environment", "note", sentence)
    engine = None
    try:
        engine = load_engine(settings, routed=False)  # of the bundle it tells below
        scales = ", ".join(map(str, engine.ladder))
        yield Check("backbone", "ok", f"{engine.name}, scales {scales}, fingerprint {engine.fingerprint}")
    except M3Error as error:
        yield Check("backbone", "fault", error.message)
    router = None
    if settings.bundle == "none":
        yield Check("bundle", "note", "None is asked for: every answer uses the full scale.")
    elif settings.bundle == "embedded" and settings.engine == "fake":
        yield Check("bundle", "note", "The fake engine has none: every answer uses the full scale.")
    else:
        try:
            router = Router.load(
                embedded_bundle() if settings.bundle == "embedded" else Path(settings.bundle)
            )
            yield Check("bundle", "ok", f"version {router.version}, made for {router.bundle.backbone}")
        except M3Error as error:
            yield Check("bundle", "fault", error.message)
    if engine is None:
        return
    if router is not None:
        matching = _match(router, engine)
        yield matching
        yield _certificates(router)
        yield _usual(settings, router)
        router = router if matching.state == "ok" else None
    yield _try_out(settings, engine, router)


def _package(name: str, missing: str) -> Check:
    try:
        return Check(name, "ok", version(name))
    except PackageNotFoundError:
        what = "." if missing == "fault" else "'.[train]'"
        return Check(name, missing, f"Not installed. `.venv/bin/python -m pip install -e {what}` brings it.")


def _match(router: Router, engine: Engine) -> Check:
    try:
        router.bundle.check_backbone(engine.fingerprint)
    except M3Error as error:
        return Check("match", "fault", error.message)
    return Check("match", "ok", "The bundle was made for this backbone.")


def _certificates(router: Router) -> Check:
    """The steps of accuracy_drop: a request gets the certificate at or below what it asks for."""
    certificates = router.bundle.certificates
    of: dict[str, list[str]] = {}
    for cascade, suffix in ((False, ""), (True, " with a cascade")):
        for loss, steps in certificates.steps(cascade=cascade).items():
            of.setdefault(told_steps(*steps), []).append(f"{loss}{suffix}")
    if not of:
        return Check("certificates", "note", "None: with an accuracy_drop the full scale answers.")
    told = [f"{steps} ({', '.join(names)})" for steps, names in of.items()]
    return Check("certificates", "ok", f"An accuracy_drop snaps down to {'; to '.join(told)}.")


def _usual(settings: Settings, router: Router) -> Check:
    """Whether the operator's defaults can be kept."""
    try:
        check_usual(settings, router)
    except M3Error as error:
        return Check("defaults", "fault", error.message)
    if (sentence := unproven(settings, router)) is not None:
        return Check("defaults", "note", sentence)
    return Check("defaults", "ok", "The router can do what requests get that ask for nothing.")


def _try_out(settings: Settings, engine: Engine, router: Router | None) -> Check:
    """One question about a generated picture, all the way through."""

    async def run() -> str:
        pipeline = Pipeline(settings, engine, router)
        await engine.start()
        try:
            done = await pipeline.answer(
                generated(1)[0],
                ("What colour is the background?",),
                Constraints(),
                deadline=deadline(settings),
                request_id="doctor",
            )
        finally:
            await engine.close()
            pipeline.close()
        return f"An answer at scale {done.scale} in {done.timings_ms['total']:.0f} ms."

    try:
        return Check("answer", "ok", asyncio.run(run()))
    except (M3Error, EngineError) as error:
        return Check("answer", "fault", f"No answer: {error}")
