"""Settings -> vLLM under the language model; imported by nobody who does not ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from m3_backbone.types import CheckpointError, Engine, EngineError
from router.errors import M3Error
from router.settings import Settings, SettingsError

_PACKAGES = frozenset({"torch", "transformers", "vllm", "httpx"})


def require(settings: Settings) -> None:
    """Raises `M3Error` for what stands against vLLM, before gigabytes are read for it."""
    if settings.compile:
        raise SettingsError(
            "M3_COMPILE (--compile) is for the torch engine. vLLM compiles unless --vllm enforce_eager=true."
        )
    with told(settings.engine):
        from m3_backbone.vllm import require_vllm

        require_vllm(settings.engine, settings.vllm_options)


def engine_on(backbone: Any, settings: Settings, queue: dict[str, Any]) -> Engine:
    """``backbone`` with its language model in vLLM, which runs when this returns."""
    with told(settings.engine):
        from m3_backbone.vllm import VllmEngine, vllm_host

        host = vllm_host(
            backbone,
            settings.engine,
            options=settings.vllm_options,
            cache=settings.cache_dir,
            batch_size=settings.batch_size,
        )
        return VllmEngine(backbone, host, **queue)


@contextmanager
def told(engine: str) -> Iterator[None]:
    """What can go wrong within, as one `M3Error` with its remedy. engine: as it was asked for."""
    from m3_backbone.vllm_client import VllmOptionError

    try:
        yield
    except VllmOptionError as error:
        raise SettingsError(f"M3_VLLM (--vllm): {error}") from error
    except ModuleNotFoundError as error:
        if error.name not in _PACKAGES:
            raise
        raise M3Error(
            f"The vLLM engine needs a package that is missing ({error.name}). Run `.venv/bin/python -m pip "
            "install -e '.[vllm]'` in the project's folder, or take --engine torch.",
            code="missing_package",
        ) from error
    except (EngineError, CheckpointError) as error:
        raise M3Error(f"M3_ENGINE (--engine) has value '{engine}'. {error}", code="no_vllm") from error
    except OSError as error:
        raise M3Error(
            f"The language model cannot be written for vLLM ({error}). Name a folder with M3_CACHE_DIR.",
            code="no_cache",
        ) from error
