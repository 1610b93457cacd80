"""Settings -> an engine and a router, for every verb. The torch backbone is imported here, when asked for."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from m3_backbone.devices import DeviceError
from m3_backbone.scales import Ladder
from m3_backbone.types import CheckpointError, Engine
from router import embedded_bundle
from router.cli import vllm
from router.errors import BundleMismatch, ConstraintError, M3Error
from router.passes import first_certificates, first_look
from router.router import Router
from router.service.pipeline import Pipeline
from router.service.schemas import constraints_of
from router.settings import Settings, SettingsError
from router.targets import resolve

_TORCH_PACKAGES = frozenset({"torch", "transformers", "sentencepiece", "safetensors"})

MADE_UP = "Fake engine: answers and costs are made up and mean nothing."


def load_engine(settings: Settings, *, routed: bool = True) -> Engine:
    """The engine that ``settings`` name, not started yet. Raises `M3Error` when it cannot be loaded.

    routed: `load_router` follows; what it refuses is then told before vLLM starts, which takes minutes.
    """
    queue: dict[str, Any] = {
        "batch_size": settings.batch_size,
        "queue_size": settings.queue_size,
        "image_cache_bytes": settings.image_cache_bytes,
        "drain_s": settings.drain_timeout_s,
        "stall_s": settings.stall_s,
    }
    if settings.engine == "fake":
        from m3_backbone.fake import FakeEngine

        return FakeEngine(token_delay_s=settings.fake_token_s, **queue)
    with_vllm = settings.engine != "torch"
    if with_vllm:
        vllm.require(settings)
    elif settings.vllm:
        raise SettingsError(
            f"M3_VLLM (--vllm) has value '{settings.vllm}', and M3_ENGINE 'torch': take vllm."
        )
    backbone = _load_backbone(settings)
    if not with_vllm:
        from m3_backbone import torch_engine

        return torch_engine(backbone, **queue)
    if routed:
        load_router(settings, backbone)
    return vllm.engine_on(backbone, settings, queue)


def _load_backbone(settings: Settings) -> Any:
    try:
        from m3_backbone import load_backbone

        return load_backbone(
            settings.backbone,
            dtype=settings.dtype,
            device=settings.device,
            vision_tower=settings.vision_tower,
            ladder=None if settings.ladder is None else Ladder.from_text(settings.ladder),
            conversation=settings.conversation,
            reducer=settings.reducer,
            kv_budget_bytes=settings.kv_budget_bytes,
            prompt_limit=settings.prompt_limit,
            compiled=settings.compile,
        )
    except ModuleNotFoundError as error:
        if error.name not in _TORCH_PACKAGES:
            raise
        raise M3Error(
            f"The torch engine needs a package that is missing ({error.name}). Run "
            "`.venv/bin/python -m pip install -e .` in the project's folder, or take --engine fake.",
            code="missing_package",
        ) from error
    except DeviceError as error:
        raise M3Error(f"M3_DEVICE (--device): {error}", code="invalid_device") from error
    except (CheckpointError, OSError) as error:
        raise M3Error(
            f"The backbone '{settings.backbone}' cannot be loaded. {error}", code="invalid_checkpoint"
        ) from error
    except ValueError as error:  # a limit that the model cannot keep to, no compiler, an unknown template
        raise SettingsError(f"The backbone '{settings.backbone}' cannot run as asked for. {error}") from error
    except (RuntimeError, AssertionError) as error:  # what torch says of a device it does not have
        if settings.device == "cpu":
            raise
        raise M3Error(
            f"M3_DEVICE has value '{settings.device}'. It cannot be used: {error}", code="invalid_device"
        ) from error


def load_router(settings: Settings, engine: Engine) -> Router | None:
    """The router for ``engine``, or None when ``settings`` ask for none. Raises `BundleError`, and
    `SettingsError` as `check_usual` does.

    The embedded bundle was fitted on m3-tiny. The fake engine has no bundle: unless one is named it is
    served without a router.
    """
    if settings.bundle == "none" or (settings.bundle == "embedded" and settings.engine == "fake"):
        return None
    folder = embedded_bundle() if settings.bundle == "embedded" else Path(settings.bundle)
    try:
        router = Router.load(folder, backbone_fingerprint=engine.fingerprint)
    except BundleMismatch as error:
        raise BundleMismatch(
            f"{error.message} `--bundle none` serves this backbone at its full scale."
        ) from error
    check_usual(settings, router)
    return router


def check_usual(settings: Settings, router: Router) -> None:
    """Raises `SettingsError` where ``router`` would refuse every request that asks for nothing itself."""
    second = router.bundle.escalation
    if settings.cascade is True and second is None:
        raise SettingsError(
            "M3_CASCADE has value 'true'. The bundle has no second look: fit one with `m3-train fit "
            "--escalation`, or give a threshold between 0 and 1."
        )
    if settings.token_budget is not None:
        prices = second.prices if second is not None and settings.cascade is True else router.bundle.prices
        try:
            prices.for_budget(settings.token_budget)
        except ConstraintError as error:
            raise SettingsError(f"M3_TOKEN_BUDGET: {error.message} Raise it.") from error


def unproven(settings: Settings, router: Router) -> str | None:
    """What becomes of M3_ACCURACY_DROP where no certificate of ``router`` keeps it, and of all certificates
    in another dtype than theirs; None where nothing does."""
    certified = router.bundle.certificates
    if certified and certified.dtype != settings.computed_in:
        return (
            f"{_computed_in(settings)}, and the router was certified with answers in {certified.dtype}: no "
            f"decision is certified. Label in {settings.computed_in} and certify again, or serve in "
            f"{certified.dtype}."
        )
    if settings.accuracy_drop is None:
        return None
    bundle, usual = router.bundle, constraints_of({}, router.ladder, settings)
    certificates = first_certificates(usual, bundle.certificates, bundle.escalation)
    target = resolve(first_look(usual, bundle.escalation), bundle.prices, certificates)
    if target.full is not None:
        return (
            f"M3_ACCURACY_DROP has value '{settings.accuracy_drop:g}', and {target.full}: requests that ask "
            "for nothing are answered at the full scale. `m3-train certify` makes certificates."
        )
    if not target.certified:
        return (
            f"M3_MAX_NEW_TOKENS has value '{settings.max_new_tokens}', and M3_ACCURACY_DROP was certified "
            f"with answers of up to {bundle.certificates.max_new_tokens} tokens: nothing is certified."
        )
    return None


def _computed_in(settings: Settings) -> str:
    """What of the settings says what answers are computed in."""
    dtype = f"M3_DTYPE has value '{settings.dtype}'"
    return dtype if settings.computed_in == settings.dtype else f"{dtype} and M3_VLLM '{settings.vllm}'"


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Pipeline]:
    """A pipeline on a started engine, closed afterwards."""
    engine = load_engine(settings)
    pipeline = Pipeline(settings, engine, load_router(settings, engine))
    await engine.start()
    try:
        yield pipeline
    finally:
        await engine.close()
        pipeline.close()


def deadline(settings: Settings) -> float:
    """When a request that starts now must be done (`time.monotonic`)."""
    return time.monotonic() + settings.request_timeout_s
